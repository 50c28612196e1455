/*
 * crc32c.h: CRC-32C by the processor's own instruction, as fast as one core does it: three independent streams hide the
 * instruction's latency of three cycles, and a table moves a stream's CRC over the bytes that follow it.
 * Processors without the instruction are refused at build time: a floor that is too high would flatter everybody.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CRC_STREAM = 4096 }; /* bytes per stream and step */
static const uint32_t CRC_POLYNOMIAL = 0x82f63b78;

static uint32_t crc_bytes(uint32_t crc, const unsigned char *at, size_t length) {
        while (length--) {
                crc ^= *at++;
                for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (CRC_POLYNOMIAL & -(crc & 1));
        }
        return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_STEP(crc, word) _mm_crc32_u64(crc, word)
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC_TARGET
#define CRC_STEP(crc, word) __crc32cd((uint32_t)(crc), word)
#else
#error "the floor needs a processor with a CRC-32C instruction (x86-64, or ARM with -march=armv8-a+crc)"
#endif

static uint32_t crc_shift_table[4][256]; /* effect of CRC_STREAM zero bytes on a CRC, by byte of the CRC */

/* To be called before anything is timed: it takes some 50 ms. */
static void crc_prepare(void) {
        static const unsigned char zeros[CRC_STREAM];
        for (int byte = 0; byte < 4; byte++)
                for (uint32_t value = 0; value < 256; value++)
                        crc_shift_table[byte][value] = value ? crc_bytes(value << (8 * byte), zeros, CRC_STREAM) : 0;
}

static inline uint32_t crc_shift(uint32_t crc) {
        return crc_shift_table[0][crc & 255] ^ crc_shift_table[1][crc >> 8 & 255] ^ crc_shift_table[2][crc >> 16 & 255] ^ crc_shift_table[3][crc >> 24];
}

static inline uint64_t crc_word(const unsigned char *at) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        return word;
}

CRC_TARGET static uint32_t crc32c(const void *data, size_t length) {
        const unsigned char *at = data;
        uint64_t crc = 0xffffffff;
        for (; length >= 3 * CRC_STREAM; length -= 3 * CRC_STREAM, at += 3 * CRC_STREAM) {
                uint64_t second = 0, third = 0;
                for (size_t i = 0; i < CRC_STREAM; i += 8) {
                        crc = CRC_STEP(crc, crc_word(at + i));
                        second = CRC_STEP(second, crc_word(at + CRC_STREAM + i));
                        third = CRC_STEP(third, crc_word(at + 2 * CRC_STREAM + i));
                }
                crc = crc_shift(crc_shift((uint32_t)crc) ^ (uint32_t)second) ^ (uint32_t)third;
        }
        for (; length >= 8; length -= 8, at += 8) crc = CRC_STEP(crc, crc_word(at));
        return ~crc_bytes((uint32_t)crc, at, length);
}
