/* A terminal of 80x24 for a program: types what is in a file when the program has drawn and is silent, and prints what it drew.
   usage: terminal KEYS PROGRAM ARG… */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Milliseconds of silence before the keys, and until the program is given up. */
enum { SILENCE = 500, END = 8000 };

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char keys[256], shown[4096];
    int file = open(argv[1], O_RDONLY), terminal;
    ssize_t n, length = file < 0 ? -1 : read(file, keys, sizeof keys);
    if (length < 0) return perror(argv[1]), 2;
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    if (child < 0) return perror("forkpty"), 2;
    if (child == 0) {
        execv(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    struct pollfd from = { .fd = terminal, .events = POLLIN };
    for (int typed = 0;;) {
        int ready = poll(&from, 1, typed ? END : SILENCE);
        if (ready == 0 && typed) {
            kill(child, 9);
            break;
        }
        if (ready == 0) {
            if (write(terminal, keys, (size_t)length) != length) break;
            typed = 1;
            continue;
        }
        if ((n = read(terminal, shown, sizeof shown)) <= 0) break;
        if (write(1, shown, (size_t)n) != n) break;
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
