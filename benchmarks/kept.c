/* Connections that are kept: the smallest worker, and the least that a relay between two of them can do.
 *
 * kept worker PORT           answers every read with "hello"; its client sends one request at a time, in one piece
 * kept relay PORT WORKER     for each client's connection one to the worker: what is read here is written there, and back
 *
 * The relay knows no HTTP, makes no choice, and checks nothing: per request two reads, two writes, and its share of an
 * epoll_wait. No router that works with read, write and epoll can do with less of the kernel's time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
static int other[65536];

static struct sockaddr_in at(const char *port)
{
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
	return where;
}

static void watch(int poll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

int main(int count, char **words)
{
	static char bytes[65536];
	struct epoll_event events[128];
	int relays = count == 4 && !strcmp(words[1], "relay"), on = 1, poll = epoll_create1(0);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in here, there;

	if (count < 3)
		return 2;
	here = at(words[2]);
	there = at(words[relays ? 3 : 2]);
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 1024))
		return 1;
	watch(poll, server);
	for (;;) {
		int ready = epoll_wait(poll, events, 128, -1);
		for (int number = 0; number < ready; number++) {
			int fd = events[number].data.fd;
			if (fd == server) {
				int client = accept4(server, 0, 0, SOCK_NONBLOCK);
				if (client < 0)
					continue;
				watch(poll, client);
				if (relays) {
					int worker = socket(AF_INET, SOCK_STREAM, 0);
					if (connect(worker, (struct sockaddr *)&there, sizeof there))
						return 1;
					watch(poll, worker);
					other[client] = worker;
					other[worker] = client;
				}
				continue;
			}
			ssize_t size = read(fd, bytes, sizeof bytes);
			if (size > 0 && relays)
				size = write(other[fd], bytes, size);
			else if (size > 0)
				size = write(fd, answer, sizeof answer - 1);
			if (size <= 0) {
				if (relays)
					close(other[fd]);
				close(fd);
			}
		}
	}
}
