#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "console.h"
#include "file.h"
#include "json.h"
#include "paths.h"

enum { STATUS_MAX = 1 << 20 };

static void print_ending(FILE *out, const struct container *container)
{
	int status = container->status;

	if (container->ending == KNOWN_ENDING && WIFEXITED(status))
		fprintf(out, ", \"exit\": %d, \"signal\": null", WEXITSTATUS(status));
	else if (container->ending == KNOWN_ENDING && WIFSIGNALED(status))
		fprintf(out, ", \"exit\": null, \"signal\": %d", WTERMSIG(status));
	else
		fprintf(out, ", \"exit\": null, \"signal\": null");
}

static void print_started(FILE *out, const struct container *container)
{
	time_t when = (time_t)container->started_s;
	struct tm parts;
	char text[32];

	if (when == 0 || gmtime_r(&when, &parts) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
		fprintf(out, ", \"started\": null");
		return;
	}
	fprintf(out, ", \"started\": \"%s\", \"started_s\": %lld, \"started_uptime_ms\": %lld", text,
		(long long)container->started_s, (long long)container->started_ms);
}

static void print_container(FILE *out, const struct container *container)
{
	char name[6 * NAME_MAX + 16];

	if (!json_quote(name, sizeof(name), container->name))
		return;
	fprintf(out, "{\"name\": %s, \"section\": \"%s\", \"state\": \"%s\"", name, section_names[container->section],
		state_names[container->state]);
	if (container->pid > 0)
		fprintf(out, ", \"pid\": %d, \"ticks\": %lld", (int)container->pid, container->ticks);
	else
		fprintf(out, ", \"pid\": null");
	fprintf(out, ", \"restarts\": %u", container->restarts);
	print_ending(out, container);
	print_started(out, container);
	fprintf(out, ", \"prepared\": %s}", container->prepared ? "true" : "false");
}

char *status_text(const struct containers *all, const char *phase, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);

	if (out == NULL)
		return NULL;
	fprintf(out, "{\"version\": 1, \"phase\": \"%s\", \"containers\": [", phase);
	for (size_t i = 0; i < all->count; i++) {
		fprintf(out, i == 0 ? "\n  " : ",\n  ");
		print_container(out, &all->list[i]);
	}
	fprintf(out, "\n]}\n");
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

void status_write(const struct containers *all, const char *phase)
{
	size_t size;
	char *text = status_text(all, phase, &size);

	if (text == NULL || file_replace(STATUS_FILE, text, size) < 0)
		say("cannot write " STATUS_FILE ": %s", strerror(errno));
	free(text);
}

static int index_of(const char *const names[], int count, const char *name)
{
	int i = 0;

	while (i < count && strcmp(names[i], name) != 0)
		i++;
	return i;
}

static void apply_ending(struct container *container, const struct json *item)
{
	long long code = json_number(item, "exit", -1), signal = json_number(item, "signal", -1);

	if (code < 0 && signal < 0)
		return;
	container->ending = KNOWN_ENDING;
	container->status = code >= 0 ? (int)(code & 255) << 8 : (int)(signal & 127); /* as wait(2) has it */
}

static void apply_item(struct containers *all, const struct json *item)
{
	int section = index_of(section_names, SECTIONS, json_string(item, "section"));
	int state = index_of(state_names, STATES, json_string(item, "state"));
	struct container *container = NULL;

	if (section < SECTIONS && state < STATES)
		container = containers_find(all, (enum section)section, json_string(item, "name"));
	if (container == NULL)
		return;
	container->state = (enum state)state;
	container->prepared = json_true(item, "prepared");
	container->restarts = (unsigned)json_number(item, "restarts", 0);
	container->pid = (pid_t)json_number(item, "pid", 0);
	container->ticks = json_number(item, "ticks", 0);
	container->started_s = json_number(item, "started_s", 0);
	container->started_ms = json_number(item, "started_uptime_ms", 0);
	apply_ending(container, item);
}

bool status_apply(struct containers *all, const char *text, size_t size)
{
	struct json_document document;
	const struct json *root = json_parse(&document, text, size);
	bool usable = json_number(root, "version", 0) == 1;

	for (const struct json *item = json_items(json_get(root, "containers")); usable && item != NULL; item = item->next)
		apply_item(all, item);
	json_free(&document);
	return usable;
}

bool status_read(struct containers *all)
{
	size_t size;
	char *text = file_read(STATUS_FILE, STATUS_MAX, &size);
	bool usable = text != NULL && status_apply(all, text, size);

	free(text);
	return usable;
}

long long process_ticks(pid_t pid)
{
	char path[64];
	long long ticks = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	char *text = file_read(path, 4096, NULL);
	char *at = text != NULL ? strrchr(text, ')') : NULL; /* the name before it may hold anything */
	for (int field = 2; at != NULL && field < 22; field++) {
		at = strchr(at, ' ');
		if (at != NULL)
			at++;
	}
	if (at != NULL)
		ticks = strtoll(at, NULL, 10);
	free(text);
	return ticks;
}
