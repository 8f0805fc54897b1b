// The C++ program of the matrix: threads, exceptions, thread-local storage, and conversions by iconv.
#include <iconv.h>
#include <netdb.h>

#include <cstdio>
#include <future>
#include <iostream>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

thread_local int own = 1;

static int thrower(int n) {
    own *= n;
    if (n % 2) throw std::runtime_error("odd " + std::to_string(own));
    return own;
}

static std::string convert(const char *to, const char *from, std::string text) {
    iconv_t by = iconv_open(to, from);
    if (by == (iconv_t)-1) throw std::runtime_error(std::string("no conversion from ") + from);
    char out[64], *in = &text[0], *end = out;
    size_t left = text.size(), room = sizeof out;
    if (iconv(by, &in, &left, &end, &room) == (size_t)-1) throw std::runtime_error("not converted");
    iconv_close(by);
    return std::string(out, end);
}

int main() {
    std::vector<std::future<int>> all;
    for (int n = 1; n <= 4; n++) all.push_back(std::async(std::launch::async, thrower, n));
    for (auto &one : all) {
        try {
            int even = one.get();
            std::cout << "even " << even << "\n";
        } catch (const std::exception &e) {
            std::cout << "caught " << e.what() << "\n";
        }
    }
    std::cout << "regex " << std::regex_replace("a1b22", std::regex("[0-9]+"), "-") << " own " << own << "\n";
    std::cout << "latin " << convert("UTF-8", "ISO-8859-15", "\xa4").size() << "\n";
    std::cout << "japanese " << convert("EUC-JP", "UTF-8", "\xe6\x97\xa5").size() << "\n";
    hostent *host = gethostbyname("localhost");
    std::cout << "localhost " << (host ? host->h_length : -1) << std::endl;
}
