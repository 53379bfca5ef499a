/* The smallest worker: answers every uwsgi request with "hello" and ends on nothing but SIGKILL (as PID 1 without a
 * handler it ignores SIGTERM), so that what still reaches it after its stop signal can be counted.
 * worker PORT */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

int main(int count, char **words)
{
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(words[1]) : 3031)};
	int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	char request[65536];

	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(server, (struct sockaddr *)&where, sizeof where) || listen(server, 1024))
		return 1;
	for (;;) {
		int client = accept(server, 0, 0);
		if (client < 0)
			continue;
		if (read(client, request, sizeof request) > 0 && write(client, answer, sizeof answer - 1) < 0)
			;
		close(client);
	}
}
