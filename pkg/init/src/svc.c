/* svc: the supervisor of the machine's containers, and the command that talks to it. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "supervisor.h"

static const char usage[] =
	"usage: svc status [--json]            what each container does\n"
	"       svc start|stop|restart NAME    answers when it is done\n"
	"       svc logs NAME                  what it printed: stdout and stderr, oldest first\n"
	"       svc poweroff|reboot|halt [-f]  the machine; -f: at once, nothing is stopped\n"
	"       svc supervise                  what init runs\n";

static int refuse(void)
{
	fputs(usage, stderr);
	return 2;
}

static enum verb verb_of(const char *name)
{
	enum verb verb = VERB_START;

	while (verb < VERBS && strcmp(verb_names[verb], name) != 0)
		verb++;
	return verb;
}

static int run(int count, char *words[])
{
	const char *first = count > 0 ? words[0] : "", *second = count > 1 ? words[1] : NULL;
	enum verb verb = verb_of(first);

	if (count > 2)
		return refuse();
	if (verb >= VERB_POWEROFF && verb < VERBS && (second == NULL || strcmp(second, "-f") == 0))
		return client_machine(verb, second != NULL);
	if (verb < VERB_POWEROFF && second != NULL)
		return client_request(verb, second);
	if (strcmp(first, "logs") == 0 && second != NULL)
		return client_logs(second);
	if (strcmp(first, "status") == 0 && (second == NULL || strcmp(second, "--json") == 0))
		return client_status(second != NULL);
	if (strcmp(first, "supervise") == 0 && second == NULL)
		return supervise();
	return refuse();
}

int main(int argc, char *argv[])
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "";

	/* /usr/sbin/poweroff and its like are links to this program. */
	if (verb_of(name) >= VERB_POWEROFF && verb_of(name) < VERBS) {
		argv[0] = (char *)name;
		return run(argc, argv);
	}
	return run(argc - 1, argv + 1);
}
