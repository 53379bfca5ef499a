/* The smallest HTTP/1.1 worker for benchmarks: "hello", or N bytes for /size/N; a body with a length is read, and its
 * length answered. Keeps connections, a thread for each.
 * http_worker PORT */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE 262144

static char zeros[PIECE];

static int send_all(int to, const char *data, size_t size)
{
	while (size) {
		ssize_t sent = write(to, data, size);
		if (sent <= 0)
			return 0;
		data += sent;
		size -= sent;
	}
	return 1;
}

/* The value of a header, or 0 if it is not there. */
static const char *header(const char *head, const char *name)
{
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line + 2, name, strlen(name)))
			return line + 2 + strlen(name);
	return 0;
}

static int answer(int client, const char *head, unsigned long long length)
{
	char out[512], text[32] = "hello";
	unsigned long long size = 5;
	int sized = !strncmp(head, "GET /size/", 10), closes, headed;
	const char *connection = header(head, "connection:");

	if (sized)
		size = strtoull(head + 10, 0, 10);
	else if (length)
		size = snprintf(text, sizeof text, "%llu", length);
	closes = connection && !strncasecmp(connection + strspn(connection, " "), "close", 5);
	headed = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n%s\r\n%s", size,
			  closes ? "Connection: close\r\n" : "", sized ? "" : text);
	if (sized && size <= 65536) {
		/* Small answers go out as one packet. */
		static __thread char whole[512 + 65536];
		memcpy(whole, out, headed);
		return send_all(client, whole, headed + size) && !closes;
	}
	if (!send_all(client, out, headed))
		return 0;
	for (unsigned long long left = sized ? size : 0; left; left -= left < PIECE ? left : PIECE)
		if (!send_all(client, zeros, left < PIECE ? left : PIECE))
			return 0;
	return !closes;
}

static void *serve(void *given)
{
	int client = (intptr_t)given, on = 1, stays = 1;
	char *data = malloc(PIECE + 1);
	size_t have = 0;

	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	while (stays) {
		char *end;
		const char *said;
		unsigned long long length, left;
		size_t headed, behind;
		ssize_t got;

		data[have] = 0;
		end = strstr(data, "\r\n\r\n");
		if (!end) {
			if (have == PIECE || (got = read(client, data + have, PIECE - have)) <= 0)
				break;
			have += got;
			continue;
		}
		end[2] = 0;
		headed = end + 4 - data;
		said = header(data, "content-length:");
		length = said ? strtoull(said, 0, 10) : 0;
		behind = have - headed;
		if (behind > length)
			behind = length;
		for (left = length - behind; left; left -= got) {
			static __thread char body[PIECE];
			if ((got = read(client, body, left < PIECE ? left : PIECE)) <= 0)
				goto over;
		}
		stays = answer(client, data, length);
		have -= headed + behind;
		memmove(data, data + headed + behind, have);
	}
over:
	close(client);
	free(data);
	return 0;
}

int main(int count, char **words)
{
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(words[1]) : 8000)};
	int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(server, (struct sockaddr *)&where, sizeof where) || listen(server, 4096))
		return 1;
	for (;;) {
		pthread_t thread;
		int client = accept(server, 0, 0);
		if (client >= 0 && !pthread_create(&thread, 0, serve, (void *)(intptr_t)client))
			pthread_detach(thread);
	}
}
