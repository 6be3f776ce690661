#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "json.h"
#include "logs.h"
#include "paths.h"

enum { STATUS_MAX = 1 << 20, LOG_READ_MAX = 64 << 20 };

static int complain(const char *what)
{
	fprintf(stderr, "svc: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Send the line and read the answer; false when svc cannot be reached. */
static bool exchange(const char *line, char *answer, size_t room)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t used = 0;

	bool sent = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
	for (ssize_t size; sent && used < room - 1 && (size = recv(fd, answer + used, room - 1 - used, 0)) > 0;)
		used += (size_t)size;
	answer[used] = '\0';
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return sent;
}

int client_request(enum verb verb, const char *name)
{
	char line[CONTROL_LINE], answer[512];

	if (strlen(name) > NAME_MAX) {
		errno = ENAMETOOLONG;
		return complain(name);
	}
	snprintf(line, sizeof(line), "%s%s%s\n", verb_names[verb], name[0] != '\0' ? " " : "", name);
	if (!exchange(line, answer, sizeof(answer)))
		return complain(CONTROL_SOCKET);
	if (strcmp(answer, "ok\n") == 0)
		return 0;
	fprintf(stderr, "svc: %s", answer[0] != '\0' ? answer : "no answer\n");
	return 1;
}

static void print_row(const struct json *item, long long now_ms)
{
	long long started = json_number(item, "started_uptime_ms", -1), pid = json_number(item, "pid", 0);
	long long code = json_number(item, "exit", -1), signal = json_number(item, "signal", -1);
	char process[32] = "-", ending[32] = "-", age[32] = "-";

	if (pid > 0)
		snprintf(process, sizeof(process), "%lld", pid);
	if (code >= 0)
		snprintf(ending, sizeof(ending), "exit %lld", code);
	else if (signal >= 0)
		snprintf(ending, sizeof(ending), "signal %lld", signal);
	if (pid > 0 && started >= 0)
		snprintf(age, sizeof(age), "%lld s", (now_ms - started) / 1000);
	printf("%-10s  %-24s  %-10s  %7s  %8s  %8lld  %s\n", json_string(item, "section"), json_string(item, "name"),
		json_string(item, "state"), process, age, json_number(item, "restarts", 0), ending);
}

int client_status(bool json)
{
	struct json_document document;
	size_t size;
	char *text = file_read(STATUS_FILE, STATUS_MAX, &size);

	if (text == NULL)
		return complain(STATUS_FILE);
	if (json) {
		fwrite(text, 1, size, stdout);
		free(text);
		return 0;
	}
	const struct json *root = json_parse(&document, text, size);
	printf("%-10s  %-24s  %-10s  %7s  %8s  %8s  %s\n", "SECTION", "NAME", "STATE", "PID", "AGE", "RESTARTS", "LAST END");
	for (const struct json *item = json_items(json_get(root, "containers")); item != NULL; item = item->next)
		print_row(item, uptime_ms());
	json_free(&document);
	free(text);
	return root != NULL ? 0 : 1;
}

static bool print_file(const char *path, FILE *out)
{
	size_t size;
	char *text = file_read(path, LOG_READ_MAX, &size);

	if (text == NULL)
		return false;
	fwrite(text, 1, size, out);
	fflush(out);
	free(text);
	return true;
}

int client_logs(const char *name)
{
	struct container container = {.section = SERVICES};
	bool found = false;
	size_t size = strlen(name);

	if (size > NAME_MAX || strchr(name, '/') != NULL) {
		errno = EINVAL;
		return complain(name);
	}
	memcpy(container.name, name, size + 1);
	for (; container.section < SECTIONS; container.section = container.section == SERVICES ? ONBOOT :
			container.section == ONBOOT ? ONSHUTDOWN : SECTIONS) {
		for (enum stream stream = LOG_OUT; stream <= LOG_ERR; stream++) {
			char path[PATH_MAX], old[PATH_MAX];
			FILE *out = stream == LOG_OUT ? stdout : stderr;

			if (logs_path(&container, stream, path) && path_format(old, "%s.1", path)) {
				found = print_file(old, out) || found;
				found = print_file(path, out) || found;
			}
		}
		if (found)
			return 0;
	}
	return complain(name);
}

int client_machine(enum verb verb, bool force)
{
	static const int calls[VERBS] = {
		[VERB_POWEROFF] = RB_POWER_OFF, [VERB_REBOOT] = RB_AUTOBOOT, [VERB_HALT] = (int)RB_HALT_SYSTEM};
	static const int signals[VERBS] = {[VERB_POWEROFF] = SIGUSR2, [VERB_REBOOT] = SIGTERM, [VERB_HALT] = SIGUSR1};
	char line[32], answer[512];

	if (force) {
		sync();
		reboot(calls[verb]);
		return complain("reboot(2)");
	}
	snprintf(line, sizeof(line), "%s\n", verb_names[verb]);
	if (exchange(line, answer, sizeof(answer)) && strcmp(answer, "ok\n") == 0)
		return 0;
	return kill(1, signals[verb]) == 0 ? 0 : complain("process 1");
}
