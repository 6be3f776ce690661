/* The control socket: a client sends one line, `VERB [NAME]\n`, and gets one line back, `ok` or `error: …`. */
#ifndef MOBY_CONTROL_H
#define MOBY_CONTROL_H

#include <poll.h>
#include <stdbool.h>

#include "container.h"

enum verb { VERB_START, VERB_STOP, VERB_RESTART, VERB_POWEROFF, VERB_REBOOT, VERB_HALT, VERBS };
extern const char *const verb_names[VERBS];

struct request {
	enum verb verb;
	char name[NAME_MAX + 1]; /* for start, stop, restart */
};

/* Parse a line without its newline; false when it is no request. */
bool control_parse(const char *line, struct request *request);

enum { CLIENTS = 8, CONTROL_POLLS = CLIENTS + 1, CONTROL_LINE = NAME_MAX + 32 };

struct client {
	int fd; /* -1 = free */
	char line[CONTROL_LINE];
	size_t used;
	struct container *waits; /* to be running, or to have ended: */
	enum verb verb;
	int64_t limit_ms;
};

struct control {
	int listener; /* -1 = none */
	bool closing; /* nothing starts any more */
	struct client clients[CLIENTS];
};

void control_open(struct control *control);
void control_polls(const struct control *control, struct pollfd *polls);

/* After poll(2), with the same entries. */
void control_take(struct control *control, const struct pollfd *polls, const struct containers *all);

/* Answer whoever waits for a container that is now as wanted; gives the time of the next limit, -1 for none. */
int64_t control_answer(struct control *control, int64_t now);

#endif
