/* moby-net PID FILE: gives process PID the network interfaces that FILE, a runtime.json, lists. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "json.h"
#include "netlink.h"

enum { FILE_MAX = 1 << 20, PATIENCE_MS = 2000, PAUSE_MS = 50 };

/* The machine's network namespace, and the container's. */
struct spaces {
	int own, theirs;
};

/* Send, and once more while what an earlier life of the container had is still being taken away. */
static bool make(const struct link_message *message)
{
	for (int waited = 0; link_send(message) < 0; waited += PAUSE_MS) {
		if (errno != EEXIST || waited >= PATIENCE_MS)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	return true;
}

static bool enter(const struct spaces *spaces)
{
	return setns(spaces->theirs, CLONE_NEWNET) == 0;
}

/* Back to the machine's namespace; `done` and errno go through. */
static bool leave(const struct spaces *spaces, bool done)
{
	int error = errno;

	if (setns(spaces->own, CLONE_NEWNET) < 0) {
		say("cannot go back to the machine's network: %s", strerror(errno));
		exit(1);
	}
	errno = error;
	return done;
}

/* Make it as one who is in the container's namespace. */
static bool make_inside(const char *kind, const char *name, const struct spaces *spaces)
{
	struct link_message message;

	link_make(&message, kind, name, "", -1);
	return enter(spaces) && leave(spaces, make(&message));
}

/* Make it from here. The kernel looks for its name here, where another may have that, so the name comes later. */
static bool make_outside(const char *kind, const char *name, const char *peer, const struct spaces *spaces)
{
	struct link_message message;
	char passing[LINK_NAME_MAX + 1];

	snprintf(passing, sizeof(passing), "moby-%d", (int)getpid());
	link_make(&message, kind, passing, peer, spaces->theirs);
	if (!make(&message) || !enter(spaces))
		return false;
	link_rename(&message, if_nametoindex(passing), name);
	return leave(spaces, link_send(&message) == 0);
}

/* An interface that the machine has; it comes back by itself some time after an earlier life of the container. */
static bool move(const char *name, const struct spaces *spaces)
{
	struct link_message message;
	unsigned index;

	for (int waited = 0; (index = if_nametoindex(name)) == 0; waited += PAUSE_MS) {
		if (waited >= PATIENCE_MS)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	link_move(&message, index, spaces->theirs);
	return link_send(&message) == 0;
}

static const char *fault(const char *name, const char *kind, const char *peer)
{
	bool pair = strcmp(kind, "veth") == 0;

	if (!link_name_fits(name))
		return "has no possible name";
	if (strlen(kind) > LINK_KIND_MAX)
		return "has no possible kind";
	if (pair && !link_name_fits(peer))
		return "is one end of a pair and needs a name for its peer";
	return !pair && peer[0] != '\0' ? "is no veth and cannot have a peer" : NULL;
}

static bool set_up(const struct json *item, const struct spaces *spaces)
{
	const char *name = json_string(item, "name"), *kind = json_string(item, "add"), *peer = json_string(item, "peer");

	if (kind[0] == '\0' && peer[0] != '\0')
		kind = "veth";
	const char *wrong = fault(name, kind, peer);
	if (wrong != NULL) {
		say("interface `%s` %s", name, wrong);
		return false;
	}
	bool done = kind[0] == '\0' ? move(name, spaces)
		: json_true(item, "createInRoot") || peer[0] != '\0' ? make_outside(kind, name, peer, spaces)
		: make_inside(kind, name, spaces);
	if (!done)
		say("cannot %s interface %s (%s): %s", kind[0] == '\0' ? "move" : "make", name, kind, strerror(errno));
	return done;
}

static int set_up_all(const struct json *json, const struct spaces *spaces)
{
	for (const struct json *item = json_items(json_get(json, "interfaces")); item != NULL; item = item->next)
		if (!set_up(item, spaces))
			return 1;
	return 0;
}

int main(int count, char **words)
{
	struct json_document document;
	char path[64];
	size_t size = 0;

	if (count != 3) {
		fprintf(stderr, "usage: moby-net PID FILE\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%ld/ns/net", strtol(words[1], NULL, 10));
	struct spaces spaces = {
		.own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
		.theirs = open(path, O_RDONLY | O_CLOEXEC),
	};
	if (spaces.own < 0 || spaces.theirs < 0) {
		say("%s: %s", path, strerror(errno));
		return 1;
	}
	char *text = file_read(words[2], FILE_MAX, &size);
	if (text == NULL) {
		say("%s: %s", words[2], strerror(errno));
		return 1;
	}
	const struct json *json = json_parse(&document, text, size);
	if (json == NULL)
		say("%s: %s", words[2], document.error);
	int status = json == NULL ? 1 : set_up_all(json, &spaces);
	json_free(&document);
	free(text);
	return status;
}
