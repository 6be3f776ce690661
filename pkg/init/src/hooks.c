#include "hooks.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "file.h"

enum { PATIENCE_MS = 30000 };

bool hooks_replaced(const char *name, const char *target)
{
	static const char *const names[] = {"000-issue", "005-volumes", "010-onboot", "010-onshutdown", "020-containerd"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	if (target == NULL)
		return false;
	const char *slash = strrchr(target, '/');
	return strcmp(slash != NULL ? slash + 1 : target, "service") == 0;
}

/* Wait for `pid`, and reap others on the way; false when it still runs after PATIENCE_MS. */
static bool wait_patiently(pid_t pid, int *status)
{
	int64_t end = uptime_ms() + PATIENCE_MS;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t gone;

		while ((gone = waitpid(-1, status, WNOHANG)) > 0)
			if (gone == pid)
				return true;
		int64_t left = end - uptime_ms();
		if (left <= 0)
			return false;
		struct timespec limit = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		sigtimedwait(&child, NULL, &limit);
	}
}

static void run_hook(const char *path)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execl(path, path, (char *)NULL);
		say("cannot run %s: %s", path, strerror(errno));
		_exit(127);
	}
	if (pid < 0)
		say("cannot run %s: %s", path, strerror(errno));
	else if (!wait_patiently(pid, &status))
		say("%s takes long, going on without it", path);
	else if (status != 0 && WIFSIGNALED(status))
		say("%s failed: killed by signal %d", path, WTERMSIG(status));
	else if (status != 0)
		say("%s failed: exit status %d", path, WEXITSTATUS(status));
}

void hooks_run(const char *directory)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char path[PATH_MAX], target[PATH_MAX];
		struct stat found;

		path_format(path, "%s/%s", directory, entries[i]->d_name);
		ssize_t size = readlink(path, target, sizeof(target) - 1);
		if (size >= 0)
			target[size] = '\0';
		if (stat(path, &found) == 0 && S_ISREG(found.st_mode) && access(path, X_OK) == 0 &&
			!hooks_replaced(entries[i]->d_name, size >= 0 ? target : NULL))
			run_hook(path);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}
