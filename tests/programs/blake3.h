#include <stddef.h>
#include <stdint.h>

/* A small BLAKE3 for the tests: one thread, no SIMD, hash mode only. */
struct b3 {
    uint32_t cv[8];      /* of the chunk that is being read */
    uint64_t chunk;      /* its number */
    uint8_t block[64];   /* what isn't compressed yet */
    size_t block_len;
    size_t blocks;       /* compressed blocks of this chunk */
    uint32_t stack[54][8];
    size_t depth;
};

void b3_init(struct b3 *s);
void b3_update(struct b3 *s, const void *data, size_t len);
void b3_final(const struct b3 *s, uint8_t out[32]);
