#include "life.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "logs.h"
#include "starter.h"
#include "status.h"

/* The same numbers on every architecture; musl's headers may lack them. */
#define PIDFD_SEND_SIGNAL_NUMBER 424
#define PIDFD_OPEN_NUMBER 434

enum {
	START_LIMIT_MS = 120000,
	GRACE_MS = 5000,
	KILL_AGAIN_MS = 1000,
	FIRST_NOTE_MS = 10000,
	NOTE_MS = 60000,
	SHOWN_FAILURES = 3 /* in a row whose last lines are shown */
};

static const char *kind(const struct container *container)
{
	return container->section == SERVICES ? "service" : section_names[container->section];
}

static void describe(enum ending ending, int status, const char *before, char text[64])
{
	if (ending == UNKNOWN_ENDING)
		snprintf(text, 64, "exit status unknown");
	else if (WIFSIGNALED(status))
		snprintf(text, 64, "%skilled by signal %d", before, WTERMSIG(status));
	else
		snprintf(text, 64, "%sexit status %d", before, WEXITSTATUS(status));
}

static double seconds(int64_t ms)
{
	return (double)ms / 1000;
}

static void show_logs(const struct container *container, int lines)
{
	char path[PATH_MAX];

	for (enum stream stream = LOG_OUT; stream <= LOG_ERR; stream++)
		if (logs_path(container, stream, path))
			logs_show(path, container->log_start[stream], container->name, lines);
}

static int send_signal(const struct container *container, int signal)
{
	if (container->pidfd >= 0)
		return (int)syscall(PIDFD_SEND_SIGNAL_NUMBER, container->pidfd, signal, NULL, 0);
	return container->pid > 0 ? kill(container->pid, signal) : 0;
}

static void open_pidfd(struct container *container)
{
	container->pidfd = (int)syscall(PIDFD_OPEN_NUMBER, container->pid, 0);
}

static void forget_process(struct container *container)
{
	if (container->pidfd >= 0)
		close(container->pidfd);
	container->pidfd = -1;
	container->pid = 0;
	container->adopted = container->early = false;
}

static void finish(struct container *container, enum ending ending, int status, const char *before);

static void mark_logs(struct container *container)
{
	char path[PATH_MAX];

	for (enum stream stream = LOG_OUT; stream <= LOG_ERR; stream++)
		container->log_start[stream] = logs_path(container, stream, path) ? logs_length(path) : 0;
}

void life_start(struct container *container)
{
	mark_logs(container);
	container->asked = container->again = container->early = false;
	container->since_ms = uptime_ms();
	container->due_ms = container->since_ms + START_LIMIT_MS;
	container->state = STARTING;
	container->starter = starter_start(container);
	if (container->starter < 0) {
		say("cannot fork: %s", strerror(errno));
		container->starter = 0;
		finish(container, KNOWN_ENDING, 255 << 8, "did not start: ");
	}
}

void life_starter_ended(struct container *container, int status)
{
	container->starter = 0;
	container->prepared = !WIFEXITED(status) || WEXITSTATUS(status) != STARTER_NOT_PREPARED;
	container->pid = status == 0 ? starter_pid(container) : 0;
	if (container->pid == 0) {
		finish(container, KNOWN_ENDING, status != 0 ? status : 255 << 8, "did not start: ");
		return;
	}
	container->state = RUNNING;
	container->started_ms = uptime_ms();
	container->started_s = time(NULL);
	container->due_ms = container->section == SERVICES ? -1 : container->since_ms + FIRST_NOTE_MS;
	if (container->section == SERVICES)
		say("service %s started (%.2f s)", container->name, seconds(container->started_ms - container->since_ms));
	if (container->early) {
		life_ended(container, KNOWN_ENDING, container->early_status);
		return;
	}
	open_pidfd(container);
	container->ticks = process_ticks(container->pid);
	if (container->asked)
		life_stop(container);
}

/* Onboot and onshutdown: what it printed belongs on the console, well or not. */
static void boot_part_ended(struct container *container, bool good, const char *how)
{
	double took = seconds(uptime_ms() - container->since_ms);

	show_logs(container, LOG_LINES_BOOT);
	if (good)
		say("%s %s done (%.2f s)", kind(container), container->name, took);
	else
		say("%s %s failed: %s (%.2f s)", kind(container), container->name, how, took);
	container->state = container->asked ? STOPPED : good ? DONE : FAILED;
	starter_unmount(container);
}

static void service_ended(struct container *container, bool good, const char *how)
{
	int64_t lived = container->started_ms >= container->since_ms ? uptime_ms() - container->started_ms : 0;
	char next[64] = "";

	if (container->asked) {
		container->state = STOPPED;
	} else if (container->policy == NEVER || (container->policy == ON_FAILURE && good)) {
		container->state = good ? DONE : FAILED;
	} else {
		int64_t delay = backoff_next(&container->backoff, lived);

		container->state = RESTARTING;
		container->restarts++;
		container->due_ms = uptime_ms() + delay;
		snprintf(next, sizeof(next), delay > 0 ? ", starting again in %.1f s" : ", starting again", seconds(delay));
	}
	if (!good && !container->asked && container->backoff.failures <= SHOWN_FAILURES)
		show_logs(container, LOG_LINES_FAILED);
	say("service %s ended: %s after %.2f s%s", container->name, how, seconds(lived), next);
	if (container_settled(container) && !container->again)
		starter_remove(container);
}

static void finish(struct container *container, enum ending ending, int status, const char *before)
{
	bool good = ending == KNOWN_ENDING && status == 0;
	char text[64];

	forget_process(container);
	container->ending = ending;
	container->status = status;
	describe(ending, status, before, text);
	if (container->section == SERVICES)
		service_ended(container, good, text);
	else
		boot_part_ended(container, good, text);
	if (container->again)
		life_start(container);
}

void life_ended(struct container *container, enum ending ending, int status)
{
	finish(container, ending, status, "");
}

bool life_heeds_term(const char *status)
{
	unsigned long long caught = 0, blocked = 0;
	int ids = 0;
	const char *line = strstr(status, "\nNSpid:");

	for (const char *at = line != NULL ? line + 7 : ""; *at == '\t' || *at == ' '; at += strcspn(at, "\t \n"), ids++)
		at += strspn(at, "\t ");
	if ((line = strstr(status, "\nSigCgt:")) != NULL)
		caught = strtoull(line + 8, NULL, 16);
	if ((line = strstr(status, "\nSigBlk:")) != NULL)
		blocked = strtoull(line + 8, NULL, 16); /* it may wait for signals with sigwait or a signalfd */
	return ids < 2 || ((caught | blocked) >> (SIGTERM - 1) & 1) != 0;
}

void life_stop(struct container *container)
{
	container->asked = true;
	container->again = false;
	if (container->state == WAITING || container->state == RESTARTING)
		container->state = STOPPED;
	int64_t limit = uptime_ms() + 2 * GRACE_MS;
	if (container->state == STARTING && container->due_ms > limit)
		container->due_ms = limit; /* the machine may be waiting */
	if (container->state != RUNNING)
		return;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)container->pid);
	char *status = file_read(path, 16384, NULL);
	send_signal(container, status == NULL || life_heeds_term(status) ? SIGTERM : SIGKILL);
	free(status);
	container->state = STOPPING;
	container->due_ms = uptime_ms() + GRACE_MS;
}

/* Did it end without us being told? Should the runtime have reaped it, no SIGCHLD comes. A zombie is not gone: it
 * becomes ours as soon as the runtime has ended. */
static bool is_gone(const struct container *container)
{
	return container->pid > 0 && send_signal(container, 0) < 0 && errno == ESRCH;
}

int64_t life_tick(struct container *container, int64_t now)
{
	bool due = now >= container->due_ms;

	if (is_gone(container)) {
		life_ended(container, UNKNOWN_ENDING, 0);
		return now; /* others may have waited for it */
	}
	if (container->state == STARTING && due) {
		say("%s %s: the runtime does not answer, killing it", kind(container), container->name);
		kill(container->starter, SIGKILL);
		container->due_ms = now + KILL_AGAIN_MS;
	} else if (container->state == STOPPING && due) {
		send_signal(container, SIGKILL);
		container->due_ms = now + KILL_AGAIN_MS;
	} else if (container->state == RESTARTING && due) {
		life_start(container);
	} else if (container->state == RUNNING && container->section != SERVICES) {
		if (due) {
			say("%s %s still runs (%.0f s)", kind(container), container->name, seconds(now - container->since_ms));
			container->due_ms = now + NOTE_MS;
		}
	} else if (container->state != STARTING && container->state != STOPPING && container->state != RESTARTING) {
		return -1;
	}
	return container->due_ms;
}

void life_adopt(struct container *container)
{
	enum state state = container->state;

	/* The starter died with its svc. */
	if (state == STARTING)
		container->state = WAITING;
	container->due_ms = uptime_ms();
	if (state != RUNNING && state != STOPPING) {
		container->pid = 0;
		return;
	}
	container->state = RUNNING;
	container->since_ms = container->started_ms;
	container->adopted = true;
	open_pidfd(container);
	if (container->pidfd < 0 || process_ticks(container->pid) != container->ticks)
		life_ended(container, UNKNOWN_ENDING, 0);
	else if (state == STOPPING)
		life_stop(container);
	else
		mark_logs(container);
}
