/* b3sum FILE…: the program of the b3sum package. Its library is another file, so that it has a closure. */
#include "blake3.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            failed = 1;
            continue;
        }
        struct b3 s;
        uint8_t buffer[65536], hash[32];
        size_t n;
        b3_init(&s);
        while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
            b3_update(&s, buffer, n);
        fclose(f);
        b3_final(&s, hash);
        for (int k = 0; k < 32; k++)
            printf("%02x", hash[k]);
        printf("  %s\n", argv[i]);
    }
    return failed;
}
