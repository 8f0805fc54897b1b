/* The library of the b3sum package. Spec: the BLAKE3 paper, section 2. */
#include "blake3.h"
#include <string.h>

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8, CHUNK = 1024 };

static const uint32_t IV[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
static const uint8_t ORDER[16] = { 2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8 };

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void g(uint32_t *v, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
    v[a] += v[b] + x; v[d] = rotr(v[d] ^ v[a], 16);
    v[c] += v[d];     v[b] = rotr(v[b] ^ v[c], 12);
    v[a] += v[b] + y; v[d] = rotr(v[d] ^ v[a], 8);
    v[c] += v[d];     v[b] = rotr(v[b] ^ v[c], 7);
}

static void compress(const uint32_t cv[8], const uint8_t block[64], uint64_t counter, uint32_t len,
                     uint32_t flags, uint32_t out[8])
{
    uint32_t m[16], t[16], v[16];
    for (int i = 0; i < 16; i++)
        m[i] = block[4 * i] | block[4 * i + 1] << 8 | block[4 * i + 2] << 16 | (uint32_t)block[4 * i + 3] << 24;
    memcpy(v, cv, 32);
    memcpy(v + 8, IV, 16);
    v[12] = counter; v[13] = counter >> 32; v[14] = len; v[15] = flags;
    for (int round = 0; round < 7; round++) {
        for (int i = 0; i < 4; i++)
            g(v, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
        for (int i = 0; i < 4; i++)
            g(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i]);
        for (int i = 0; i < 16; i++)
            t[i] = m[ORDER[i]];
        memcpy(m, t, sizeof m);
    }
    for (int i = 0; i < 8; i++)
        out[i] = v[i] ^ v[i + 8];
}

static void put(uint8_t *out, const uint32_t words[8])
{
    for (int i = 0; i < 32; i++)
        out[i] = words[i / 4] >> (8 * (i % 4));
}

static void parent(const uint32_t left[8], const uint32_t right[8], uint32_t flags, uint32_t out[8])
{
    uint8_t block[64];
    put(block, left);
    put(block + 32, right);
    compress(IV, block, 0, 64, PARENT | flags, out);
}

static uint32_t start(const struct b3 *s) { return s->blocks ? 0 : CHUNK_START; }

static void start_chunk(struct b3 *s, uint64_t number)
{
    memcpy(s->cv, IV, 32);
    memset(s->block, 0, 64);
    s->chunk = number;
    s->block_len = s->blocks = 0;
}

/* The chunk is full and more comes: its hash joins the complete subtrees on the stack. */
static void end_chunk(struct b3 *s)
{
    uint32_t cv[8];
    uint64_t total = s->chunk + 1;
    compress(s->cv, s->block, s->chunk, s->block_len, start(s) | CHUNK_END, cv);
    for (; total % 2 == 0; total /= 2)
        parent(s->stack[--s->depth], cv, 0, cv);
    memcpy(s->stack[s->depth++], cv, 32);
    start_chunk(s, s->chunk + 1);
}

void b3_init(struct b3 *s)
{
    s->depth = 0;
    start_chunk(s, 0);
}

void b3_update(struct b3 *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        if (s->block_len == 64) {
            if (s->blocks == CHUNK / 64 - 1) {
                end_chunk(s);
            } else {
                compress(s->cv, s->block, s->chunk, 64, start(s), s->cv);
                s->blocks++;
                s->block_len = 0;
                memset(s->block, 0, 64);
            }
        }
        size_t n = 64 - s->block_len < len ? 64 - s->block_len : len;
        memcpy(s->block + s->block_len, p, n);
        s->block_len += n; p += n; len -= n;
    }
}

void b3_final(const struct b3 *s, uint8_t out[32])
{
    uint32_t cv[8];
    size_t depth = s->depth;
    compress(s->cv, s->block, s->chunk, s->block_len, start(s) | CHUNK_END | (depth ? 0 : ROOT), cv);
    while (depth > 0) {
        depth--;
        parent(s->stack[depth], cv, depth ? 0 : ROOT, cv);
    }
    put(out, cv);
}
