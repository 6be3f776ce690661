#include "container.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "console.h"
#include "file.h"
#include "json.h"
#include "paths.h"

#define ANNOTATION "org.mobyproject.moby."
enum { CONFIG_MAX = 1 << 20, CONTAINERS_MAX = 1024 };

const char *const section_names[SECTIONS] = {"onboot", "services", "onshutdown"};
const char *const state_names[STATES] = {
	"waiting", "starting", "running", "stopping", "restarting", "stopped", "done", "failed"};

bool container_path(const struct container *container, const char *name, char path[PATH_MAX])
{
	return path_format(path, CONTAINERS "/%s/%s%s%s", section_names[container->section], container->name,
		name[0] != '\0' ? "/" : "", name);
}

bool container_settled(const struct container *container)
{
	return container->state == STOPPED || container->state == DONE || container->state == FAILED;
}

void container_annotate(struct container *container, const char *config, size_t size)
{
	struct json_document document;
	const struct json *notes = json_get(json_parse(&document, config, size), "annotations");
	const char *policy = json_string(notes, ANNOTATION "restart");

	if (document.error != NULL)
		say("%s: config.json, byte %zu: %s", container->name, document.offset, document.error);
	if (strcmp(policy, "never") == 0)
		container->policy = NEVER;
	else if (strcmp(policy, "on-failure") == 0)
		container->policy = ON_FAILURE;
	else if (policy[0] != '\0' && strcmp(policy, "always") != 0)
		say("%s: unknown restart policy `%s`, taking `always`", container->name, policy);
	free(container->after);
	container->after = strdup(json_string(notes, ANNOTATION "after"));
	json_free(&document);
}

static void read_config(struct container *container)
{
	char path[PATH_MAX];
	size_t size;
	char *config = container_path(container, "config.json", path) ? file_read(path, CONFIG_MAX, &size) : NULL;

	if (config != NULL)
		container_annotate(container, config, size);
	else
		say("%s: cannot read config.json: %s", container->name, strerror(errno));
	free(config);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add(struct containers *all, enum section section, const char *name)
{
	char path[PATH_MAX];
	struct stat found;
	struct container *new = &all->list[all->count];

	*new = (struct container){.section = section, .pidfd = -1};
	memcpy(new->name, name, strlen(name) + 1); /* d_name is no longer than NAME_MAX */
	if (!container_path(new, "", path) || stat(path, &found) < 0 || !S_ISDIR(found.st_mode))
		return;
	read_config(new);
	all->count++;
}

static void load_section(struct containers *all, enum section section)
{
	char path[PATH_MAX];
	struct dirent **entries;

	path_format(path, CONTAINERS "/%s", section_names[section]);
	int count = scandir(path, &entries, NULL, by_name);
	for (int i = 0; i < count; i++) {
		if (all->count == CONTAINERS_MAX)
			say("more than %d containers, leaving out %s", CONTAINERS_MAX, entries[i]->d_name);
		else if (entries[i]->d_name[0] != '.')
			add(all, section, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

void containers_load(struct containers *all)
{
	all->count = 0;
	all->list = calloc(CONTAINERS_MAX, sizeof(struct container)); /* pages not touched cost nothing */
	for (enum section section = ONBOOT; all->list != NULL && section < SECTIONS; section++)
		load_section(all, section);
	containers_check_order(all);
}

void containers_free(struct containers *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->list[i].after);
	free(all->list);
	*all = (struct containers){0};
}

struct container *containers_find(const struct containers *all, enum section section, const char *name)
{
	struct container *other = NULL;

	for (struct container *at = all->list; at < all->list + all->count; at++) {
		if (strcmp(at->name, name) != 0 || (section != SECTIONS && at->section != section))
			continue;
		if (at->section == SERVICES || section != SECTIONS)
			return at;
		if (other == NULL)
			other = at;
	}
	return other;
}

/* The next name of a list with commas; moves `list` behind it. False at the end. */
static bool next_name(const char **list, char name[NAME_MAX + 1])
{
	*list += strspn(*list, ", ");
	size_t size = strcspn(*list, ", ");
	if (size == 0 || size > NAME_MAX)
		return false;
	memcpy(name, *list, size);
	name[size] = '\0';
	*list += size;
	return true;
}

bool container_turn(const struct containers *all, const struct container *container)
{
	char name[NAME_MAX + 1];

	for (const char *list = container->after != NULL ? container->after : ""; next_name(&list, name);) {
		const struct container *other = containers_find(all, SERVICES, name);

		if (other != NULL && other != container && (other->state == WAITING || other->state == STARTING))
			return false;
	}
	return true;
}

static void report_unknown(const struct containers *all, const struct container *container)
{
	char name[NAME_MAX + 1];

	for (const char *list = container->after != NULL ? container->after : ""; next_name(&list, name);)
		if (containers_find(all, SERVICES, name) == NULL)
			say("%s: comes after `%s`, which is no service", container->name, name);
}

/* Play the start in advance: who never gets a turn is part of a circle, or comes after one. */
void containers_check_order(struct containers *all)
{
	struct container *end = all->list + all->count;
	bool progress;

	do {
		progress = false;
		for (struct container *at = all->list; at < end; at++) {
			if (at->section == SERVICES && at->state == WAITING && container_turn(all, at)) {
				at->state = RUNNING;
				progress = true;
			}
		}
	} while (progress);
	for (struct container *at = all->list; at < end; at++) {
		if (at->section != SERVICES)
			continue;
		report_unknown(all, at);
		if (at->state == WAITING) {
			say("%s: the order `after: %s` is a circle, ignoring it", at->name, at->after);
			at->after[0] = '\0';
		}
		at->state = WAITING;
	}
}
