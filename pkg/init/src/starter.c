#include "starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "images.h"
#include "logs.h"
#include "mount.h"
#include "paths.h"
#include "prepare.h"

enum { RUNTIME_JSON_MAX = 1 << 20 };

static const char *runtime(void)
{
	return access(CRUN_PROGRAM, X_OK) == 0 ? CRUN_PROGRAM : RUNC_PROGRAM;
}

static bool pid_path(const struct container *container, char path[PATH_MAX])
{
	return path_format(path, STATE_DIRECTORY "/%s.%s.pid", section_names[container->section], container->name);
}

pid_t starter_pid(const struct container *container)
{
	char path[PATH_MAX];
	char *text = pid_path(container, path) ? file_read(path, 64, NULL) : NULL;
	long pid = text != NULL ? strtol(text, NULL, 10) : 0;

	free(text);
	return pid > 1 ? (pid_t)pid : 0;
}

/* Run a program to its end; its exit status, or 255. */
static int run(const char *const arguments[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execv(arguments[0], (char *const *)arguments);
		say("cannot run %s: %s", arguments[0], strerror(errno));
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 255;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void remove_old(const struct container *container)
{
	char crun[PATH_MAX], runc[PATH_MAX];

	if (!path_format(crun, PREFIX "/run/crun/%s", container->name) ||
		!path_format(runc, PREFIX "/run/runc/%s", container->name))
		return;
	if (access(crun, F_OK) == 0 || access(runc, F_OK) == 0)
		run((const char *const[]){runtime(), "delete", "--force", container->name, NULL});
}

void starter_unmount(const struct container *container)
{
	for (const char *const *part = (const char *const[]){"rootfs", "tmp", NULL}; *part != NULL; part++) {
		char path[PATH_MAX];

		if (!container_path(container, *part, path))
			continue;
		if (image_is_for(path))
			mounts_remove(path, 1); /* the image stays, others may use it too */
		else
			while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
				;
	}
}

/* A child must not outlive svc half done, take its signals, or keep its protection from the out-of-memory killer. */
static void become_child(void)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	(void)!file_write("/proc/self/oom_score_adj", "0");
}

static void open_streams(const struct container *container)
{
	char path[PATH_MAX];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDIN_FILENO);
	for (enum stream stream = LOG_OUT; stream <= LOG_ERR; stream++) {
		int fd = -1;

		if (logs_path(container, stream, path) && make_parent(path) == 0)
			fd = logs_open(path);
		if (fd < 0)
			say("cannot open %s: %s", path, strerror(errno));
		dup2(fd >= 0 ? fd : null, stream == LOG_OUT ? STDOUT_FILENO : STDERR_FILENO);
	}
}

/* runtime.json of the container; NULL for none. False when it cannot be read. */
static bool read_runtime_json(const struct container *container, struct json_document *document, const struct json **value)
{
	char path[PATH_MAX];
	size_t size;

	*value = NULL;
	if (!container_path(container, "runtime.json", path))
		return false;
	char *text = file_read(path, RUNTIME_JSON_MAX, &size);
	if (text == NULL && errno == ENOENT)
		return true;
	if (text == NULL) {
		say("cannot read %s: %s", path, strerror(errno));
		return false;
	}
	*value = json_parse(document, text, size);
	free(text);
	if (*value == NULL)
		say("%s, byte %zu: %s", path, document->offset, document->error);
	return *value != NULL;
}

/* Two steps, with what needs the container's namespaces between. */
static int create_and_start(const struct container *container, const struct json *json, const char *bundle, const char *pid_file)
{
	int status = run((const char *const[]){
		runtime(), "create", "--bundle", bundle, "--pid-file", pid_file, container->name, NULL});

	if (status != 0)
		return status;
	pid_t pid = starter_pid(container);
	if (pid > 0 && prepare_process(container, json, pid))
		status = run((const char *const[]){runtime(), "start", container->name, NULL});
	else
		status = 1;
	if (status != 0)
		remove_old(container);
	return status;
}

static int start(const struct container *container)
{
	struct json_document document;
	const struct json *json;
	char bundle[PATH_MAX], pid_file[PATH_MAX];

	if (!container_path(container, "", bundle) || !pid_path(container, pid_file))
		return STARTER_NOT_PREPARED;
	unlink(pid_file);
	remove_old(container);
	starter_unmount(container);
	if (!read_runtime_json(container, &document, &json) || !prepare_file_system(container, json)) {
		starter_unmount(container);
		return STARTER_NOT_PREPARED;
	}
	if (prepare_has_process_part(json))
		return create_and_start(container, json, bundle, pid_file);
	execl(runtime(), runtime(), "run", "--detach", "--bundle", bundle, "--pid-file", pid_file, container->name, (char *)NULL);
	say("cannot run %s: %s", runtime(), strerror(errno));
	return 127;
}

pid_t starter_start(const struct container *container)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	become_child();
	open_streams(container);
	_exit(start(container));
}

pid_t starter_remove(const struct container *container)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	become_child();
	remove_old(container);
	starter_unmount(container);
	_exit(0);
}
