/* The least a relay can do, in C: what nginx -> relay -> worker costs when nothing is decided.
 *
 *     relay NODE-IP NODE-PORT PROCESSES LISTENING-FD
 *
 * Accept, read the packet, connect to the one node, write, pass back what comes, close.  No keys, no pools, no retry,
 * no time-outs, no counters: a floor for the benchmarks, not a router.  Same system calls as router/relay where it can.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

enum { CHUNK = 65536, FDS = 65536 };

struct pair {
    int client, worker, events[2];   /* events: what epoll knows of each side, 0 when it does not know it */
    int ended[2];                    /* end of file seen */
    long body;                       /* bytes of the request that are still to come */
    char *waits[2];                  /* what a side has not taken yet */
    int waiting[2], taken[2];
};

static struct pair *of[FDS];
static int epoll, closing[FDS], to_close, listener;
static struct sockaddr_in node;
static char buffer[CHUNK];

static void watch(struct pair *p, int side, int events) {
    int fd = side ? p->worker : p->client;
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (p->events[side] == events)
        return;
    epoll_ctl(epoll, !events ? EPOLL_CTL_DEL : p->events[side] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    p->events[side] = events;
}

static void end(struct pair *p) {
    of[p->client] = NULL;
    closing[to_close++] = p->client;
    if (p->worker >= 0) {
        of[p->worker] = NULL;
        closing[to_close++] = p->worker;
    }
    free(p->waits[0]);
    free(p->waits[1]);
    free(p);
}

static void arm(struct pair *p) {
    for (int side = 0; side < 2; side++) {
        int other = !side, events = p->waiting[side] ? EPOLLOUT : 0;
        if (!p->waiting[other] && !p->ended[side] && (side || p->body > 0))
            events |= EPOLLIN | EPOLLRDHUP;
        watch(p, side, events);
    }
}

/* Everything that `from` has goes to the other side; what that does not take waits.  0: the pair is gone. */
static int move(struct pair *p, int from, int events) {
    int in = from ? p->worker : p->client, out = from ? p->client : p->worker, to = !from;
    for (int round = 0; round < 4; round++) {
        ssize_t got = read(in, buffer, CHUNK), put;
        if (got < 0 && errno == EAGAIN)
            return 1;
        if (got <= 0) {
            if (from || got < 0) {
                end(p);
                return 0;
            }
            p->ended[0] = 1;
            shutdown(p->worker, SHUT_WR);
            arm(p);
            return 1;
        }
        if (!from)
            p->body -= got;
        put = write(out, buffer, got);
        if (put < 0 && errno != EAGAIN) {
            end(p);
            return 0;
        }
        if (put < got) {
            put = put < 0 ? 0 : put;
            p->waits[to] = malloc(got - put);
            memcpy(p->waits[to], buffer + put, got - put);
            p->waiting[to] = got - put;
            p->taken[to] = 0;
            arm(p);
            return 1;
        }
        if (got < CHUNK) {
            if (from && events & EPOLLRDHUP) {
                end(p);
                return 0;
            }
            return 1;
        }
    }
    return 1;
}

static void push(struct pair *p, int side) {
    ssize_t put = write(side ? p->worker : p->client, p->waits[side] + p->taken[side], p->waiting[side]);
    if (put < 0) {
        if (errno != EAGAIN)
            end(p);
        return;
    }
    p->taken[side] += put;
    if (!(p->waiting[side] -= put)) {
        free(p->waits[side]);
        p->waits[side] = NULL;
        arm(p);
    }
}

static void begin(struct pair *p) {
    ssize_t got = read(p->client, buffer, CHUNK), put;
    unsigned char *head = (unsigned char *)buffer;
    if (got < 4) {                    /* a client that sends its packet in pieces stays open and is not served */
        if (got < 0 && errno == EAGAIN)
            watch(p, 0, EPOLLIN);
        else if (got > 0)
            watch(p, 0, 0);
        else
            end(p);
        return;
    }
    int size = 4 + (head[1] | head[2] << 8);
    char *announced = memmem(buffer, got, "CONTENT_LENGTH", 14);
    if (announced && announced + 18 < buffer + got && announced[14] | announced[15])
        p->body = atol(announced + 16) - (got - size);
    p->worker = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    of[p->worker] = p;
    connect(p->worker, (struct sockaddr *)&node, sizeof node);
    put = write(p->worker, buffer, got);
    if (put < got) {
        put = put < 0 ? 0 : put;
        p->waits[1] = malloc(got - put);
        memcpy(p->waits[1], buffer + put, got - put);
        p->waiting[1] = got - put;
    }
    arm(p);
}

int main(int count, char **words) {
    struct epoll_event events[128];
    int one = 1, processes;
    if (count != 5)
        return 2;
    node.sin_family = AF_INET;
    node.sin_port = htons(atoi(words[2]));
    inet_pton(AF_INET, words[1], &node.sin_addr);
    processes = atoi(words[3]);
    listener = atoi(words[4]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
    for (int more = 1; more < processes; more++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    events[0].events = EPOLLIN | (processes > 1 ? EPOLLEXCLUSIVE : 0);
    events[0].data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &events[0]);
    for (;;) {
        int found = epoll_wait(epoll, events, 128, -1);
        for (int i = 0; i < found; i++) {
            int fd = events[i].data.fd, what = events[i].events;
            if (fd == listener) {
                for (int n = 0; n < 16; n++) {
                    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                    if (client < 0)
                        break;
                    struct pair *p = calloc(1, sizeof *p);
                    p->client = client;
                    p->worker = -1;
                    of[client] = p;
                    begin(p);
                }
                continue;
            }
            struct pair *p = of[fd];
            if (!p)
                continue;
            if (p->worker < 0) {
                begin(p);
                continue;
            }
            int side = fd == p->worker;
            if (what & EPOLLOUT && p->waiting[side])
                push(p, side);
            if (of[fd] == p && what & ~EPOLLOUT && !p->waiting[!side])
                move(p, side, what);
        }
        while (to_close)
            close(closing[--to_close]);
    }
}
