/* One container as svc knows it. */
#ifndef MOBY_CONTAINER_H
#define MOBY_CONTAINER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backoff.h"

enum section { ONBOOT, SERVICES, ONSHUTDOWN, SECTIONS };
enum policy { ALWAYS, ON_FAILURE, NEVER };
enum state {
	WAITING,    /* for its turn, or for those it comes after */
	STARTING,   /* its starter is at work */
	RUNNING,
	STOPPING,   /* asked to end */
	RESTARTING, /* ended, starts again at due_ms */
	STOPPED,    /* by request */
	DONE,       /* ended well, stays so */
	FAILED,     /* did not end well, stays so */
	STATES
};
enum ending { NO_ENDING, KNOWN_ENDING, UNKNOWN_ENDING };

struct container {
	char name[NAME_MAX + 1];     /* of its directory, and of the container in the runtime */
	enum section section;
	enum state state;
	enum policy policy;
	char *after;                 /* names of services, commas between; may be "" */
	bool prepared;               /* mounts outside its directory are made */
	bool adopted;                /* not our child: only its pidfd tells the end */
	bool again;                  /* start once it has ended */
	bool asked;                  /* to end: its end is no failure */
	pid_t starter, pid;          /* 0 = none */
	int pidfd;                   /* -1 = none */
	bool early;                  /* ended, with early_status, before its starter */
	int early_status;
	long long ticks;             /* start of pid, /proc/PID/stat field 22: tells a reused pid */
	unsigned restarts;
	enum ending ending;
	int status;                  /* wait status of a KNOWN_ENDING */
	int64_t since_ms;            /* uptime when it began to start */
	int64_t started_ms;          /* uptime when it ran */
	int64_t started_s;           /* the same by the clock, seconds since 1970 */
	int64_t due_ms;              /* STARTING, STOPPING: the limit; RESTARTING: when */
	int64_t log_start[2];        /* length of its logs when it began to start, by enum stream */
	struct backoff backoff;
};

struct containers {
	struct container *list;      /* onboot, services, onshutdown, each in name order */
	size_t count;
};

extern const char *const section_names[SECTIONS];
extern const char *const state_names[STATES];

/* Find all containers of the machine and read their annotations. */
void containers_load(struct containers *all);
void containers_free(struct containers *all);

/* `section` SECTIONS = any, services first. NULL when there is none. */
struct container *containers_find(const struct containers *all, enum section section, const char *name);

/* Read policy and order from the text of config.json. */
void container_annotate(struct container *container, const char *config, size_t size);

/* Drop orders that can never be met, with a line each. */
void containers_check_order(struct containers *all);

/* Have all services that it comes after had their start? */
bool container_turn(const struct containers *all, const struct container *container);

/* Its directory, and a path below it; `name` "" = the directory. */
bool container_path(const struct container *container, const char *name, char path[PATH_MAX]);

/* Nothing more happens by itself? */
bool container_settled(const struct container *container);

#endif
