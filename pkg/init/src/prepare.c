#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "mount.h"
#include "paths.h"

#define CGROUPS PREFIX "/sys/fs/cgroup"

static const char *const namespaces[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};

/* Is `path` the container's own directory or below it? */
static bool inside(const struct container *container, const char *path)
{
	char base[PATH_MAX];

	if (!container_path(container, "", base))
		return false;
	size_t size = strlen(base);
	return strncmp(path, base, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

/* A directory to mount on or to make: as it stands when absolute, else below rootfs. The path to use for it goes to
 * `usable`; the descriptor must stay open as long as that is used. */
static int open_place(const struct container *container, const char *path, char usable[PATH_MAX])
{
	char root[PATH_MAX];
	int fd = -1;

	if (path[0] == '/') {
		if (path_format(usable, "%s", path) && make_directories(path) == 0)
			fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else if (container_path(container, "rootfs", root)) {
		fd = directory_inside(root, path);
		path_format(usable, "/proc/self/fd/%d", fd);
	}
	if (fd < 0)
		say("cannot make directory %s: %s", path, strerror(errno));
	return fd;
}

static bool mount_one(const struct container *container, const struct json *item)
{
	const char *destination = json_string(item, "destination");
	char usable[PATH_MAX];

	/* Others may use it by now. */
	if (container->prepared && destination[0] == '/' && !inside(container, destination))
		return true;
	int fd = open_place(container, destination, usable);
	if (fd < 0)
		return false;
	bool done = mount_item(item, usable) == 0;
	if (!done)
		say("cannot mount %s (type %s) on %s: %s", json_string(item, "source"), json_string(item, "type"), destination,
			strerror(errno));
	close(fd);
	return done;
}

/* The first `count` mounts, last first: recursion puts the end of the list first. */
static void undo(const struct container *container, const struct json *item, size_t count)
{
	const char *destination = json_string(item, "destination");

	if (count == 0)
		return;
	undo(container, item->next, count - 1);
	if (!container->prepared && destination[0] == '/' && !inside(container, destination))
		umount2(destination, MNT_DETACH);
}

static bool make_all(const struct container *container, const struct json *paths)
{
	char usable[PATH_MAX];

	for (const struct json *path = json_items(paths); path != NULL; path = path->next) {
		int fd = path->type == JSON_STRING ? open_place(container, path->string, usable) : -1;

		if (fd < 0)
			return false;
		close(fd);
	}
	return true;
}

static void make_cgroups(const struct json *names)
{
	for (const struct json *name = json_items(names); name != NULL; name = name->next) {
		char path[PATH_MAX];

		if (name->type != JSON_STRING || strstr(name->string, "..") != NULL ||
			!path_format(path, CGROUPS "/%s", name->string) || make_directories(path) < 0)
			say("cannot make cgroup %s: %s", name->type == JSON_STRING ? name->string : "", strerror(errno));
	}
}

bool prepare_file_system(const struct container *container, const struct json *json)
{
	const struct json *mounts = json_items(json_get(json, "mounts")), *at = mounts;
	size_t made = 0;

	for (; at != NULL && made < JSON_VALUES && mount_one(container, at); at = at->next)
		made++;
	if (at == NULL && make_all(container, json_get(json, "mkdir"))) {
		make_cgroups(json_get(json, "cgroups"));
		return true;
	}
	undo(container, mounts, made);
	return false;
}

static bool bind_namespace(const struct json *paths, const char *kind, pid_t pid)
{
	const char *path = json_string(paths, kind);
	char source[64];

	if (path[0] == '\0')
		return true;
	snprintf(source, sizeof(source), "/proc/%d/ns/%s", (int)pid, kind);
	while (umount2(path, MNT_DETACH) == 0)
		; /* of an earlier life */
	int fd = make_parent(path) == 0 ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && mount(source, path, NULL, MS_BIND, NULL) == 0)
		return true;
	say("cannot bind the %s namespace to %s: %s", kind, path, strerror(errno));
	return false;
}

/* Links are another program's job: rtnetlink would double the size of this one. */
static bool set_up_network(const struct container *container, pid_t pid)
{
	char json[PATH_MAX], number[16];
	int status = -1;

	snprintf(number, sizeof(number), "%d", (int)pid);
	pid_t child = container_path(container, "runtime.json", json) ? fork() : -1;
	if (child == 0) {
		execl(NETWORK_PROGRAM, NETWORK_PROGRAM, number, json, (char *)NULL);
		say("cannot run " NETWORK_PROGRAM ", needed for `interfaces`: %s", strerror(errno));
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

bool prepare_has_process_part(const struct json *json)
{
	const struct json *paths = json_get(json, "bindNS");

	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		if (json_string(paths, namespaces[i])[0] != '\0')
			return true;
	return json_items(json_get(json, "interfaces")) != NULL;
}

bool prepare_process(const struct container *container, const struct json *json, pid_t pid)
{
	if (json_items(json_get(json, "interfaces")) != NULL && !set_up_network(container, pid))
		return false;
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		if (!bind_namespace(json_get(json, "bindNS"), namespaces[i], pid))
			return false;
	return true;
}
