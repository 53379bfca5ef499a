/* A worker as application servers are: HTTP/1.1 with kept connections, or uwsgi, whichever a connection begins with; each
 * request takes 5 ms. The answer is "HOSTNAME KEY\n". At SIGTERM it closes its socket at once, finishes what it has begun,
 * and ends. DELAY=S: it listens, and accepts nothing for S seconds. DRAIN=S: after SIGTERM it goes on for S seconds, in
 * which GET /health is answered 503. GET /control/break and /control/mend: answers are 500.
 * deployed_worker PORT | deployed_worker --check PORT (exit code 0: it answers) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST 70000

static atomic_int busy, broken;
static volatile sig_atomic_t stopping;
static atomic_int closing;
static char answer_text[300];

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

static int read_more(int client, char *data, size_t *have)
{
	ssize_t got = *have < MOST ? read(client, data + *have, MOST - *have) : 0;
	if (got <= 0)
		return 0;
	*have += got;
	data[*have] = 0;
	return 1;
}

static int write_answer(int client, const char *status, int closes)
{
	char out[600];
	int size;

	usleep(5000);
	size = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(answer_text),
			closes ? "Connection: close\r\n" : "", answer_text);
	return write(client, out, size) == size;
}

static const char *status_of(const char *request)
{
	if (stopping && !strncmp(request, "GET /health ", 12))
		return "503 Service Unavailable";
	return broken ? "500 Internal Server Error" : "200 OK";
}

static long header_number(const char *head, const char *end, const char *name)
{
	for (const char *line = strstr(head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line + 2, name, strlen(name)))
			return atol(line + 2 + strlen(name));
	return 0;
}

/* One HTTP request; 0: the connection is over. */
static int serve_http(int client, char *data, size_t *have)
{
	char *end;
	size_t whole;
	int closes, answered;

	while (!(end = strstr(data, "\r\n\r\n")))
		if (!read_more(client, data, have))
			return 0;
	busy++;
	whole = end + 4 - data + header_number(data, end, "content-length:");
	while (*have < whole)
		if (!read_more(client, data, have)) {
			busy--;
			return 0;
		}
	if (!strncmp(data, "GET /control/", 13))
		broken = !strncmp(data + 13, "break", 5);
	*end = 0;
	closes = closing || strcasestr(data, "connection: close") != 0;
	answered = write_answer(client, status_of(data), closes);
	busy--;
	*have -= whole;
	memmove(data, data + whole, *have + 1);
	return answered && !closes;
}

static void serve_uwsgi(int client, char *data, size_t *have)
{
	size_t at = 4, size, body = 0;

	while (*have < 4)
		if (!read_more(client, data, have))
			return;
	size = 4 + ((unsigned char)data[1] | (unsigned char)data[2] << 8);
	while (*have < size)
		if (!read_more(client, data, have))
			return;
	busy++;
	while (at + 2 <= size) {
		size_t name = (unsigned char)data[at] | (unsigned char)data[at + 1] << 8, value;
		const char *named = data + at + 2;
		at += 2 + name;
		if (at + 2 > size)
			break;
		value = (unsigned char)data[at] | (unsigned char)data[at + 1] << 8;
		if (name == 14 && !memcmp(named, "CONTENT_LENGTH", 14) && value && value < 12) {
			char text[12] = "";
			memcpy(text, data + at + 2, value);
			body = atol(text);
		}
		at += 2 + value;
	}
	while (*have < size + body && read_more(client, data, have))
		;
	write_answer(client, status_of(""), 1);
	busy--;
}

static void *serve(void *given)
{
	int client = (intptr_t)given, on = 1;
	char *data = calloc(1, MOST + 1);
	size_t have = 0;
	sigset_t others;

	/* The signal is for the thread that accepts. */
	sigfillset(&others);
	pthread_sigmask(SIG_BLOCK, &others, 0);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (read_more(client, data, &have)) {
		if (!data[0])
			serve_uwsgi(client, data, &have);
		else
			while (serve_http(client, data, &have))
				;
	}
	close(client);
	free(data);
	return 0;
}

static int check(int port)
{
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 1};
	int link = socket(AF_INET, SOCK_STREAM, 0);
	char got[64] = "";

	setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(link, (struct sockaddr *)&where, sizeof where) ||
	    write(link, "GET / HTTP/1.0\r\nConnection: close\r\n\r\n", 37) != 37 || read(link, got, 63) <= 0)
		return 1;
	return !strstr(got, " 200 ");
}

int main(int count, char **words)
{
	time_t end = 0, drain = getenv("DRAIN") ? atoi(getenv("DRAIN")) : 0;
	int checks = count > 2, port = atoi(words[count - 1]), on = 1, server = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sigaction action = {.sa_handler = stop};
	struct timeval turn = {.tv_usec = 100000};
	char host[100] = "";

	if (checks)
		return check(port);
	gethostname(host, sizeof host - 1);
	snprintf(answer_text, sizeof answer_text, "%s %s\n", host, getenv("KEY") ? getenv("KEY") : "");
	sigaction(SIGTERM, &action, 0);
	signal(SIGPIPE, SIG_IGN);
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &turn, sizeof turn);
	if (bind(server, (struct sockaddr *)&where, sizeof where) || listen(server, 1024))
		return 1;
	for (int left = getenv("DELAY") ? atoi(getenv("DELAY")) : 0; left && !stopping;)
		left = sleep(left);
	for (;;) {
		pthread_t thread;
		int client;
		if (stopping && !end)
			end = time(0) + drain;
		if (end && time(0) >= end)
			break;
		client = accept(server, 0, 0);
		if (client < 0)
			continue;
		setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0}, sizeof turn);
		if (!pthread_create(&thread, 0, serve, (void *)(intptr_t)client))
			pthread_detach(thread);
	}
	closing = 1;
	close(server);
	for (int waited = 0; busy && waited < 5000; waited++)
		usleep(1000);
	usleep(2000);
	return 0;
}
