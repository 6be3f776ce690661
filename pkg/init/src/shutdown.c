#include "shutdown.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "file.h"

enum { GRACE_MS = 5000, MOUNTS_MAX = 1 << 20 };

/* Every process but kernel threads descends from PID 1, so none is left when there is no child to wait for. */
static bool all_gone(int64_t limit_ms)
{
	int64_t end = uptime_ms() + limit_ms;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t gone;

		while ((gone = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (gone < 0 && errno == ECHILD)
			return true;
		int64_t left = end - uptime_ms();
		if (left <= 0)
			return false;
		struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		sigtimedwait(&child, NULL, &wait);
	}
}

static void end_processes(void)
{
	kill(-1, SIGTERM);
	if (all_gone(GRACE_MS))
		return;
	kill(-1, SIGKILL);
	if (!all_gone(GRACE_MS))
		say("some processes do not end");
}

static bool holds_data(const char *type)
{
	static const char *const types[] = {"ext2", "ext3", "ext4", "btrfs", "xfs", "vfat", "msdos", "exfat", "f2fs", "overlay",
		"fuseblk", "nfs", "nfs4", "cifs"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/* The kernel writes a space in a path as \040 (proc_pid_mounts(5)). */
static void unescape(char *path)
{
	char *out = path;

	for (const char *at = path; *at != '\0'; out++) {
		unsigned code;

		if (at[0] == '\\' && sscanf(at + 1, "%3o", &code) == 1) {
			*out = (char)code;
			at += 4;
		} else {
			*out = *at++;
		}
	}
	*out = '\0';
}

static void unmount(char *line)
{
	char *rest = NULL;

	strtok_r(line, " ", &rest);
	char *path = strtok_r(NULL, " ", &rest), *type = strtok_r(NULL, " ", &rest);
	if (type == NULL || !holds_data(type))
		return;
	unescape(path);
	bool remote = type[0] == 'n' || type[0] == 'c';
	if (umount2(path, remote ? MNT_FORCE | MNT_DETACH : 0) == 0)
		return;
	/* In use, such as the root of a disk image: no more writes at least. */
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		say_debug("cannot unmount %s: %s", path, strerror(errno));
}

/* The last mount first: it may stand on an earlier one. */
static void unmount_all(void)
{
	size_t size;
	char *mounts = file_read("/proc/self/mounts", MOUNTS_MAX, &size);

	while (mounts != NULL && size > 0) {
		mounts[--size] = '\0'; /* the newline behind the last line */
		while (size > 0 && mounts[size - 1] != '\n')
			size--;
		unmount(mounts + size);
	}
	free(mounts);
}

void shutdown_machine(int how)
{
	end_processes();
	sync();
	unmount_all();
	sync();
	say("%s", how == RB_POWER_OFF ? "powering off" : how == RB_AUTOBOOT ? "restarting" : "halted");
	/* In a child: reboot(2) by a thread that returns would end PID 1, and that is a panic. */
	if (vfork() == 0) {
		reboot(how);
		_exit(1);
	}
	for (;;)
		pause();
}
