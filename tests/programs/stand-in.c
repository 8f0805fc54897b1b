/* A small program or library that says what it is: what stands in for upstream's where Debian has no package of it.
 * MODE is FIXED (static, without a C library), DYNAMIC, LIBRARY, or LINKED (which says what the library says).
 * The text is put into the compiled file: a program is compiled once for each machine, not for each name. */

#define FIXED 0
#define DYNAMIC 1
#define LIBRARY 2
#define LINKED 3

#if MODE != LINKED
/* volatile: what is there when it runs counts. */
static const volatile char said[128] = "@says@";
#endif

#if MODE == FIXED

static long call(long number, long a, long b, long c) {
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#endif
}

#if defined(__x86_64__)
enum { WRITE = 1, EXIT = 60 };
#else
enum { WRITE = 64, EXIT = 93 };
#endif

void _start(void) {
    long length = 0;
    while (said[length]) length++;
    call(WRITE, 1, (long)said, length);
    call(EXIT, 0, 0, 0);
    for (;;) {}
}

#elif MODE == DYNAMIC
#include <stdio.h>

int main(void) { return fputs((const char *)said, stdout) < 0; }

#elif MODE == LIBRARY

const char *library_says(void) { return (const char *)said; }

#else
#include <stdio.h>

const char *library_says(void);

int main(void) { return fputs(library_says(), stdout) < 0; }
#endif
