#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "container.h"
#include "control.h"
#include "file.h"
#include "images.h"
#include "life.h"
#include "logs.h"
#include "mount.h"
#include "paths.h"
#include "starter.h"
#include "status.h"

enum { ROTATION_MS = 2000 };
enum phase { PHASE_ONBOOT, PHASE_SERVICES, PHASE_STOPPING, PHASE_ONSHUTDOWN, PHASE_END };
static const char *const phase_names[] = {"onboot", "services", "stopping", "onshutdown", "end"};

struct supervisor {
	struct containers all;
	struct control control;
	struct pollfd *polls; /* control, signals, then one per container */
	enum phase phase;
	int signals;
	int64_t rotation_ms;
};

static struct container *end_of(const struct supervisor *s)
{
	return s->all.list + s->all.count;
}

static void prepare(struct supervisor *s)
{
	sigset_t mask;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)!file_write("/proc/self/oom_score_adj", "-900");
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
	char *cmdline = file_read("/proc/cmdline", 65536, NULL);
	console_debug(cmdline != NULL && cmdline_has(cmdline, "moby.debug"));
	free(cmdline);
	if (make_directories(STATE_DIRECTORY) < 0 || make_directories(BOOT_LOGS) < 0)
		say("cannot make " STATE_DIRECTORY ": %s", strerror(errno));
}

static void begin(struct supervisor *s)
{
	containers_load(&s->all);
	s->polls = calloc(CONTROL_POLLS + 1 + s->all.count, sizeof(struct pollfd));
	if (status_read(&s->all)) {
		for (struct container *at = s->all.list; at < end_of(s); at++)
			life_adopt(at);
	} else {
		images_mount();
		volumes_mount();
	}
	control_open(&s->control);
}

/* One container of `section` at a time, in order; true when all have ended. */
static bool run_in_turn(struct supervisor *s, enum section section)
{
	for (struct container *at = s->all.list; at < end_of(s); at++) {
		if (at->section != section || container_settled(at))
			continue;
		if (at->state == WAITING)
			life_start(at);
		if (!container_settled(at))
			return false;
	}
	return true;
}

static void start_services(struct supervisor *s)
{
	for (struct container *at = s->all.list; at < end_of(s); at++)
		if (at->section == SERVICES && at->state == WAITING && container_turn(&s->all, at))
			life_start(at);
}

static bool services_stopped(const struct supervisor *s)
{
	for (const struct container *at = s->all.list; at < end_of(s); at++)
		if (at->section != ONSHUTDOWN && !container_settled(at) && at->state != WAITING)
			return false;
	return true;
}

static void stop(struct supervisor *s)
{
	if (s->phase >= PHASE_STOPPING)
		return;
	s->phase = PHASE_STOPPING;
	s->control.closing = true;
	for (struct container *at = s->all.list; at < end_of(s); at++)
		if (at->section != ONSHUTDOWN)
			life_stop(at);
}

/* Whatever can begin now; phases follow one another. */
static void advance(struct supervisor *s)
{
	if (s->phase == PHASE_ONBOOT && run_in_turn(s, ONBOOT)) {
		(void)!symlink(BOOT_LOGS, SERVICE_LOGS "/onboot");
		s->phase = PHASE_SERVICES;
	}
	if (s->phase == PHASE_SERVICES)
		start_services(s);
	if (s->phase == PHASE_STOPPING && services_stopped(s))
		s->phase = PHASE_ONSHUTDOWN;
	if (s->phase == PHASE_ONSHUTDOWN && run_in_turn(s, ONSHUTDOWN))
		s->phase = PHASE_END;
}

static void earlier(int64_t *limit, int64_t other)
{
	if (other >= 0 && (*limit < 0 || other < *limit))
		*limit = other;
}

/* All that time brings; how long poll(2) may wait, in ms. */
static int tick(struct supervisor *s)
{
	int64_t now = uptime_ms(), limit = -1;
	bool rotate = now >= s->rotation_ms;

	for (struct container *at = s->all.list; at < end_of(s); at++) {
		char path[PATH_MAX];

		earlier(&limit, life_tick(at, now));
		if (at->state != RUNNING)
			continue;
		for (enum stream stream = LOG_OUT; rotate && stream <= LOG_ERR; stream++)
			if (logs_path(at, stream, path))
				logs_rotate(path, LOG_MAX);
		if (rotate)
			s->rotation_ms = now + ROTATION_MS;
		earlier(&limit, s->rotation_ms);
	}
	/* First the status: whoever is answered finds there what the answer says. */
	status_write(&s->all, phase_names[s->phase]);
	earlier(&limit, control_answer(&s->control, now));
	if (limit < 0)
		return -1;
	limit -= uptime_ms();
	return limit > 0 ? (int)limit : 0;
}

static void child_ended(struct supervisor *s, pid_t pid, int status)
{
	for (struct container *at = s->all.list; at < end_of(s); at++) {
		if (at->starter == pid) {
			life_starter_ended(at, status);
			return;
		}
		if (at->pid == pid && !at->adopted) {
			life_ended(at, KNOWN_ENDING, status);
			return;
		}
		if (at->state == STARTING && starter_pid(at) == pid) {
			at->early = true;
			at->early_status = status;
			return;
		}
	}
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo signal;
	int status;

	while (read(s->signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal))
		if (signal.ssi_signo != SIGCHLD)
			stop(s);
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		child_ended(s, pid, status);
}

static void wait_for_news(struct supervisor *s, int limit_ms)
{
	struct pollfd *own = s->polls + CONTROL_POLLS + 1;

	control_polls(&s->control, s->polls);
	s->polls[CONTROL_POLLS] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	for (size_t i = 0; i < s->all.count; i++)
		own[i] = (struct pollfd){.fd = s->all.list[i].adopted ? s->all.list[i].pidfd : -1, .events = POLLIN};
	if (poll(s->polls, CONTROL_POLLS + 1 + s->all.count, limit_ms) <= 0)
		return;
	for (size_t i = 0; i < s->all.count; i++)
		if (own[i].revents != 0)
			life_ended(&s->all.list[i], UNKNOWN_ENDING, 0);
	take_signals(s);
	control_take(&s->control, s->polls, &s->all);
}

int supervise(void)
{
	struct supervisor s = {.phase = PHASE_ONBOOT};

	prepare(&s);
	begin(&s);
	if (s.all.list == NULL || s.polls == NULL)
		return 1;
	while (s.phase != PHASE_END) {
		advance(&s);
		int limit_ms = tick(&s);

		if (s.phase != PHASE_END)
			wait_for_news(&s, limit_ms);
	}
	unlink(CONTROL_SOCKET);
	containers_free(&s.all);
	free(s.polls);
	return 0;
}
