/* PID 1: prepares the machine, starts svc, reaps, and ends the machine. What can fail or read much is in svc. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "hooks.h"
#include "host.h"
#include "modules.h"
#include "paths.h"
#include "power.h"
#include "root.h"
#include "shutdown.h"

enum {
	STOP_LIMIT_MS = 90000,    /* for svc to stop all containers, onshutdown included */
	RESPAWN_MIN_MS = 100,
	RESPAWN_MAX_MS = 5000,
	CMDLINE_MAX = 65536
};

struct machine {
	struct power power;
	int signals;
	pid_t svc;
	int64_t svc_started, svc_due; /* due: when to start it (again) */
	int64_t delay;
	int how;                      /* RB_*, once stopping */
	int64_t stop_limit;           /* 0 = not stopping */
};

static void boot(const char *cmdline, bool contained)
{
	int64_t start = uptime_ms();
	int modules = -1;

	if (!contained)
		modules = modules_load(cmdline);
	host_set_up();
	if (!contained)
		root_seal();
	host_greet(cmdline);
	if (modules >= 0)
		say("machine ready, %d modules (%.2f s)", modules, (double)(uptime_ms() - start) / 1000);
	else
		say("machine ready, no list of modules (%.2f s)", (double)(uptime_ms() - start) / 1000);
	if (cmdline_has(cmdline, "linuxkit.unified_cgroup_hierarchy=0"))
		say("cgroup version 1 is not supported, going on with version 2");
	hooks_run("/etc/init.d");
}

static void block_signals(struct machine *machine)
{
	sigset_t mask;

	sigemptyset(&mask);
	for (const int *signal = (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, 0}; *signal != 0; signal++)
		sigaddset(&mask, *signal);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	machine->signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void start_svc(struct machine *machine)
{
	machine->svc_started = uptime_ms();
	machine->svc = fork();
	if (machine->svc == 0) {
		/* Signals stay blocked: a SIGTERM that comes before svc is ready for it must wait, not kill. */
		signal(SIGPIPE, SIG_DFL);
		execl(SVC_PROGRAM, "svc", "supervise", (char *)NULL);
		say("cannot run " SVC_PROGRAM ": %s", strerror(errno));
		_exit(127);
	}
}

static void svc_ended(struct machine *machine, int status)
{
	int64_t now = uptime_ms();

	machine->svc = 0;
	if (machine->stop_limit != 0)
		return;
	if (now - machine->svc_started > 10000)
		machine->delay = RESPAWN_MIN_MS;
	if (WIFSIGNALED(status))
		say("svc was killed by signal %d, starting it again", WTERMSIG(status));
	else
		say("svc ended with exit status %d, starting it again", WEXITSTATUS(status));
	machine->svc_due = now + machine->delay;
	machine->delay = machine->delay * 2 < RESPAWN_MAX_MS ? machine->delay * 2 : RESPAWN_MAX_MS;
}

static void stop(struct machine *machine, int how)
{
	if (machine->stop_limit != 0)
		return;
	machine->how = how;
	machine->stop_limit = uptime_ms() + STOP_LIMIT_MS;
	say("stopping");
	if (machine->svc <= 0)
		start_svc(machine); /* it has just died; the containers are there */
	if (machine->svc > 0)
		kill(machine->svc, SIGTERM);
}

static void take_signals(struct machine *machine)
{
	struct signalfd_siginfo signal;
	int status;

	while (read(machine->signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal)) {
		if (signal.ssi_signo == SIGUSR2)
			stop(machine, RB_POWER_OFF);
		else if (signal.ssi_signo == SIGUSR1)
			stop(machine, (int)RB_HALT_SYSTEM);
		else if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT)
			stop(machine, RB_AUTOBOOT);
	}
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		if (pid == machine->svc)
			svc_ended(machine, status);
}

static int poll_limit(const struct machine *machine)
{
	int64_t due = machine->stop_limit != 0 ? machine->stop_limit : machine->svc <= 0 ? machine->svc_due : -1;

	if (due < 0)
		return -1;
	due -= uptime_ms();
	return due > 0 ? (int)due : 0;
}

static void run(struct machine *machine)
{
	struct pollfd polls[POWER_POLLS + 1];

	for (;;) {
		int64_t now = uptime_ms();

		if (machine->stop_limit != 0 && (machine->svc <= 0 || now >= machine->stop_limit))
			return;
		if (machine->svc <= 0 && now >= machine->svc_due)
			start_svc(machine);
		power_polls(&machine->power, polls);
		polls[POWER_POLLS] = (struct pollfd){.fd = machine->signals, .events = POLLIN};
		poll(polls, POWER_POLLS + 1, poll_limit(machine));
		if (power_pressed(&machine->power, polls)) {
			say("power button pressed");
			stop(machine, RB_POWER_OFF);
		}
		take_signals(machine);
	}
}

int main(void)
{
	struct machine machine = {.delay = RESPAWN_MIN_MS};

	if (getpid() != 1) {
		say("init runs as process 1 only; to stop the machine: poweroff, reboot, halt");
		return 1;
	}
	/* /proc is there already: somebody made this a container, whose mounts and devices are not ours to change. */
	bool contained = access("/proc/self", F_OK) == 0;
	block_signals(&machine);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/", 1);
	if (!contained) {
		root_leave_rootfs();
		root_mount_all();
		reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del becomes SIGINT */
	}
	make_directories(STATE_DIRECTORY);
	char *cmdline = file_read("/proc/cmdline", CMDLINE_MAX, NULL);
	console_debug(cmdline != NULL && (cmdline_has(cmdline, "moby.debug") || cmdline_has(cmdline, "linuxkit.runc_debug=1")));
	boot(cmdline != NULL ? cmdline : "", contained);
	free(cmdline);
	power_open(&machine.power);
	run(&machine);
	hooks_run("/etc/shutdown.d");
	if (contained)
		return 0;
	shutdown_machine(machine.how);
}
