#include "control.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "console.h"
#include "life.h"
#include "paths.h"

enum { LINE_LIMIT_MS = 5000, ANSWER_LIMIT_MS = 30000 };

const char *const verb_names[VERBS] = {"start", "stop", "restart", "poweroff", "reboot", "halt"};
static const int machine_signals[VERBS] = {[VERB_POWEROFF] = SIGUSR2, [VERB_REBOOT] = SIGTERM, [VERB_HALT] = SIGUSR1};

bool control_parse(const char *line, struct request *request)
{
	size_t size = strcspn(line, " ");
	const char *name = line[size] == ' ' ? line + size + 1 : "";

	*request = (struct request){.verb = VERB_START};
	while (request->verb < VERBS && (strlen(verb_names[request->verb]) != size ||
		memcmp(verb_names[request->verb], line, size) != 0))
		request->verb++;
	if (request->verb == VERBS || strlen(name) > NAME_MAX || strchr(name, '/') != NULL)
		return false;
	memcpy(request->name, name, strlen(name) + 1);
	return (name[0] != '\0') == (machine_signals[request->verb] == 0);
}

void control_open(struct control *control)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET};

	for (int i = 0; i < CLIENTS; i++)
		control->clients[i] = (struct client){.fd = -1};
	unlink(CONTROL_SOCKET);
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	mode_t mask = umask(0177); /* root only, from the first moment on */
	bool bound = control->listener >= 0 && bind(control->listener, (struct sockaddr *)&address, sizeof(address)) == 0;
	umask(mask);
	if (bound && listen(control->listener, CLIENTS) == 0)
		return;
	say("no control socket: %s", strerror(errno));
	if (control->listener >= 0)
		close(control->listener);
	control->listener = -1;
}

void control_polls(const struct control *control, struct pollfd *polls)
{
	polls[0] = (struct pollfd){.fd = control->listener, .events = POLLIN};
	for (int i = 0; i < CLIENTS; i++)
		polls[i + 1] = (struct pollfd){.fd = control->clients[i].fd, .events = POLLIN};
}

static void hang_up(struct client *client)
{
	close(client->fd);
	*client = (struct client){.fd = -1};
}

static void answer(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void answer(struct client *client, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size > 0)
		(void)!send(client->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	hang_up(client);
}

static void obey(struct control *control, struct client *client, const struct request *request, const struct containers *all)
{
	if (machine_signals[request->verb] != 0) {
		if (kill(1, machine_signals[request->verb]) < 0)
			answer(client, "error: cannot signal process 1: %s\n", strerror(errno));
		else
			answer(client, "ok\n");
		return;
	}
	struct container *container = containers_find(all, SECTIONS, request->name);
	if (container == NULL) {
		answer(client, "error: there is no container %s\n", request->name);
		return;
	}
	if (control->closing) {
		answer(client, "error: the machine is stopping\n");
		return;
	}
	bool ended = container_settled(container) || container->state == RESTARTING;
	client->waits = container;
	client->verb = request->verb;
	client->limit_ms = uptime_ms() + ANSWER_LIMIT_MS;
	if (request->verb != VERB_START && !container_settled(container))
		life_stop(container);
	if (request->verb != VERB_STOP && (ended || request->verb == VERB_RESTART)) {
		container->backoff = (struct backoff){0};
		if (container_settled(container) || container->state == RESTARTING)
			life_start(container);
		else
			container->again = true;
	}
}

static void read_line(struct control *control, struct client *client, const struct containers *all)
{
	ssize_t size = recv(client->fd, client->line + client->used, sizeof(client->line) - 1 - client->used, MSG_DONTWAIT);
	struct request request;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0 || client->waits != NULL) { /* gone, or too talkative */
		hang_up(client);
		return;
	}
	client->used += (size_t)size;
	char *end = memchr(client->line, '\n', client->used);
	if (end == NULL) {
		if (client->used == sizeof(client->line) - 1)
			answer(client, "error: line too long\n");
		return;
	}
	*end = '\0';
	if (control_parse(client->line, &request))
		obey(control, client, &request, all);
	else
		answer(client, "error: not a request\n");
}

static void take_client(struct control *control)
{
	int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (int i = 0; fd >= 0 && i < CLIENTS; i++) {
		if (control->clients[i].fd < 0) {
			control->clients[i].fd = fd;
			control->clients[i].limit_ms = uptime_ms() + LINE_LIMIT_MS;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

void control_take(struct control *control, const struct pollfd *polls, const struct containers *all)
{
	for (int i = 0; i < CLIENTS; i++)
		if (polls[i + 1].revents != 0 && control->clients[i].fd >= 0)
			read_line(control, &control->clients[i], all);
	if (polls[0].revents != 0)
		take_client(control);
}

static void answer_if_settled(struct client *client)
{
	const struct container *container = client->waits;
	bool ended = container_settled(container) || container->state == RESTARTING;

	if (container->again)
		return;
	if (client->verb == VERB_STOP ? container_settled(container) : container->state == RUNNING)
		answer(client, "ok\n");
	else if (ended && container->section != SERVICES && container->state == DONE)
		answer(client, "ok\n");
	else if (ended && client->verb != VERB_STOP)
		answer(client, "error: %s is %s\n", container->name, state_names[container->state]);
}

int64_t control_answer(struct control *control, int64_t now)
{
	int64_t next = -1;

	for (struct client *client = control->clients; client < control->clients + CLIENTS; client++) {
		if (client->fd >= 0 && client->waits != NULL)
			answer_if_settled(client);
		if (client->fd >= 0 && now >= client->limit_ms)
			answer(client, "error: it takes too long\n");
		if (client->fd >= 0 && (next < 0 || client->limit_ms < next))
			next = client->limit_ms;
	}
	return next;
}
