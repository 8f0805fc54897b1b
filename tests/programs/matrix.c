/* The program of the matrix for musl: threads, thread-local storage, conversions by iconv, and a module that it loads. */
#include <dlfcn.h>
#include <iconv.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static __thread int own = 1;
extern int library(int);

static void *run(void *arg) {
    own *= *(int *)arg;
    *(int *)arg = library(own);
    return arg;
}

int main(void) {
    int numbers[4] = {1, 2, 3, 4}, sum = 0;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, run, &numbers[i])) return 1;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        sum += numbers[i];
    }
    printf("threads %d %d\n", sum, own);
    char text[] = "\xe9", out[8], *in = text, *end = out;
    size_t left = 1, room = sizeof out;
    iconv_t by = iconv_open("UTF-8", "ISO-8859-1");
    if (by == (iconv_t)-1 || iconv(by, &in, &left, &end, &room) == (size_t)-1) return 2;
    printf("latin %d\n", (int)(end - out));
    struct hostent *host = gethostbyname("localhost");
    printf("localhost %d\n", host ? host->h_length : -1);
    return 0;
}
