/*
 * floor: the least program that moves the bytes of a broker, with no broker in it.
 *
 *   produce   socket -> one buffer -> CRC-32C -> file, then an 8-byte answer
 *   fetch     file -> sendfile -> socket, on an 8-byte order
 *
 * Place: bench/run measures it beside the brokers; what a broker spends above it is the price of being a broker.
 * One connection at a time, blocking calls, one thread. It prints {"port":N} when it listens.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"

enum { MAX_FRAME = 8 << 20 };

static void die(const char *what) {
        perror(what);
        exit(1);
}

static int read_all(int fd, void *to, size_t length) {
        for (size_t done = 0; done < length;) {
                ssize_t got = read(fd, (char *)to + done, length - done);
                if (got <= 0) return 0;
                done += (size_t)got;
        }
        return 1;
}

static void write_all(int fd, const void *from, size_t length) {
        for (size_t done = 0; done < length;) {
                ssize_t put = write(fd, (const char *)from + done, length - done);
                if (put < 0) die("write");
                done += (size_t)put;
        }
}

static void take(int connection, int file) {
        char *frame = malloc(MAX_FRAME);
        uint32_t length;
        while (read_all(connection, &length, sizeof length)) {
                if (length > MAX_FRAME || !read_all(connection, frame, length)) return;
                uint32_t answer[2] = {crc32c(frame, length), length};
                write_all(file, frame, length);
                write_all(connection, answer, sizeof answer);
        }
        free(frame);
}

static void give(int connection, int file) {
        uint32_t length;
        off_t at = 0;
        while (read_all(connection, &length, sizeof length)) {
                for (size_t left = length; left > 0;) {
                        ssize_t sent = sendfile(connection, file, &at, left);
                        if (sent == 0 && at > 0) at = 0; /* at the end of the file: from the start again */
                        else if (sent <= 0) return;
                        left -= (size_t)sent;
                }
        }
}

int main(int argc, char **argv) {
        if (argc != 2) return fprintf(stderr, "usage: floor FILE\n"), 2;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
        crc_prepare();
        if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4)) die("listen");
        getsockname(listener, (struct sockaddr *)&address, &size);
        printf("{\"port\":%d}\n", ntohs(address.sin_port));
        fflush(stdout);
        for (;;) {
                int connection = accept(listener, NULL, NULL);
                char mode;
                if (connection < 0) die("accept");
                setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                if (read_all(connection, &mode, 1)) {
                        int file = mode == 'P' ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) : open(argv[1], O_RDONLY);
                        if (file < 0) die("file");
                        (mode == 'P' ? take : give)(connection, file);
                        close(file);
                }
                close(connection);
        }
}
