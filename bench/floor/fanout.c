/*
 * fanout: the least program that brings one message to a crowd, with no broker in it.
 *
 *   It answers CONNECT and SUBSCRIBE with constant bytes, and writes what a publisher sends to everybody who subscribed: one write a
 *   message and connection, on one thread with epoll. It knows no topics, checks nothing and keeps nothing: who does not read
 *   until the kernel's buffer is full gets nothing any more.
 *
 * Place: bench/run measures it beside the brokers; what a broker spends above it is the price of being a broker.
 * It prints {"port":N} when it listens.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 20000, EVENTS = 256, BUFFER = 1 << 16, CONNECT = 0x10, PUBLISH = 0x30, SUBSCRIBE = 0x82 };

static int crowd[MAX_CONNECTIONS], crowd_size;
static unsigned char publishing[MAX_CONNECTIONS + 64], buffer[BUFFER];

static void die(const char *what) {
        perror(what);
        exit(1);
}

static void welcome(int epoll, int listener) {
        int on = 1, fd;
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
                if ((size_t)fd >= sizeof publishing) die("too many connections");
                publishing[fd] = 0;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest)) die("epoll_ctl");
        }
}

static void leave(int fd) {
        for (int i = 0; i < crowd_size; i++)
                if (crowd[i] == fd) crowd[i--] = crowd[--crowd_size];
        close(fd);
}

/* Length of the packet at the beginning, 0 when it is not whole. */
static size_t packet(const unsigned char *bytes, size_t length) {
        size_t body = 0;
        for (size_t i = 1; i < length && i < 5; i++) {
                body |= (size_t)(bytes[i] & 0x7f) << 7 * (i - 1);
                if (!(bytes[i] & 0x80)) return i + 1 + body <= length ? i + 1 + body : 0;
        }
        return 0;
}

/* Who takes only a part, or nothing, would see broken packets from then on: it is left out. */
static void bring(const unsigned char *message, size_t length) {
        for (int i = 0; i < crowd_size; i++)
                if (write(crowd[i], message, length) != (ssize_t)length) crowd[i--] = crowd[--crowd_size];
}

/* There is one publisher: what is not whole waits at the beginning of its buffer. */
static void publish(int fd) {
        static unsigned char said[BUFFER];
        static size_t held;
        ssize_t got = read(fd, said + held, sizeof said - held);
        size_t at = 0, length;
        if (got <= 0) {
                held = 0;
                leave(fd);
                return;
        }
        held += (size_t)got;
        for (; (length = packet(said + at, held - at)) > 0; at += length)
                if ((said[at] & 0xf0) == PUBLISH) bring(said + at, length);
        memmove(said, said + at, held -= at);
}

static void answer(int fd, const void *bytes, size_t length) {
        if (write(fd, bytes, length) != (ssize_t)length) leave(fd);
}

/* The first packet of a connection is read on its own, so that no message of a publisher is read with it. */
static void take(int fd) {
        if (publishing[fd]) return publish(fd);
        ssize_t got = recv(fd, buffer, 1, MSG_PEEK);
        if (got == 1 && (buffer[0] & 0xf0) == PUBLISH) {
                publishing[fd] = 1;
                return publish(fd);
        }
        got = read(fd, buffer, sizeof buffer);
        if (got <= 0) {
                if (got == 0 || errno != EAGAIN) leave(fd);
        } else if (buffer[0] == CONNECT) {
                answer(fd, "\x20\x02\0\0", 4);
        } else if (buffer[0] == SUBSCRIBE && got > 4 && crowd_size < MAX_CONNECTIONS) {
                unsigned char granted[] = {0x90, 3, buffer[2], buffer[3], 0};
                crowd[crowd_size++] = fd;
                answer(fd, granted, sizeof granted);
        }
}

int main(void) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        struct epoll_event ready[EVENTS];
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
        struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener};
        if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listen");
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &interest)) die("epoll_ctl");
        getsockname(listener, (struct sockaddr *)&address, &size);
        printf("{\"port\":%d}\n", ntohs(address.sin_port));
        fflush(stdout);
        for (;;) {
                int count = epoll_wait(epoll, ready, EVENTS, -1);
                for (int i = 0; i < count; i++) {
                        if (ready[i].data.fd == listener) welcome(epoll, listener);
                        else take(ready[i].data.fd);
                }
        }
}
