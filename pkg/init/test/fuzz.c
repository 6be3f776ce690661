/* Mutates valid texts and feeds them to every parser of the guest. `fuzz SEED COUNT`: the same seed, the same texts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/container.h"
#include "../src/control.h"
#include "../src/json.h"
#include "../src/life.h"
#include "../src/modules.h"
#include "../src/status.h"

enum { ROOM = 4096 };

static const char *const seeds[] = {
	"{\"cgroups\": [\"a/b\"], \"mounts\": [{\"destination\": \"/x/tmp\", \"type\": \"tmpfs\", \"options\": [\"remount\", \"ro\"]}], "
	"\"mkdir\": [\"a\"], \"interfaces\": [{\"name\": \"eth0\", \"createInRoot\": false}], \"bindNS\": {\"net\": \"/run/n\"}}",
	"{\"version\": 1, \"phase\": \"services\", \"containers\": [{\"name\": \"a\", \"section\": \"services\", \"state\": \"running\", "
	"\"pid\": 12, \"ticks\": 99, \"restarts\": 1, \"exit\": null, \"signal\": 9, \"started_s\": 1.5e9, \"prepared\": true}]}",
	"{\"annotations\": {\"org.mobyproject.moby.restart\": \"never\", \"org.mobyproject.moby.after\": \"a,b\"}}",
	"[\"\\u00e9\\ud83d\\ude00\\n\", -0.5E-10, [[[[[[]]]]]], {\"\": {}}]",
	"restart nginx", "Name:\tx\nNSpid:\t7\t1\nSigBlk:\t0\nSigCgt:\t4000\n", "virtio-net.a=b console=ttyS0,9600 x.y=z",
};

static uint64_t state;

static uint32_t draw(uint32_t limit) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1d) >> 33) % limit;
}

/* One change: a byte replaced, removed, doubled, or a piece of another seed put in. */
static size_t mutate(char *text, size_t size)
{
	static const char likely[] = "{}[]\",:\\u0dD8e+-.1 \n";
	size_t at = draw((uint32_t)size + 1);
	const char *other = seeds[draw(sizeof(seeds) / sizeof(seeds[0]))];
	size_t piece = draw(16), from = draw((uint32_t)strlen(other));

	if (piece > strlen(other) - from)
		piece = strlen(other) - from;
	switch (draw(4)) {
	case 0:
		if (at < size)
			text[at] = (char)(draw(2) != 0 ? (uint32_t)likely[draw(sizeof(likely) - 1)] : draw(256));
		return size;
	case 1:
		if (at < size)
			memmove(text + at, text + at + 1, --size - at);
		return size;
	case 2:
		piece = piece < size - at ? piece : size - at;
		other = text + at;
		from = 0;
		__attribute__((fallthrough)); /* double what is there */
	default:
		if (size + piece > ROOM)
			return size;
		char copy[16];
		memcpy(copy, other + from, piece);
		memmove(text + at + piece, text + at, size - at);
		memcpy(text + at, copy, piece);
		return size + piece;
	}
}

static size_t walk(const struct json *value)
{
	size_t sum = 1;

	for (const struct json *item = value->child; item != NULL; item = item->next)
		sum += walk(item) + (item->key != NULL ? strlen(item->key) : 0);
	return sum + (value->type == JSON_STRING ? strlen(value->string) : 0);
}

static void feed(const char *text, size_t size)
{
	struct json_document document;
	struct container list[1] = {{.name = "a", .section = SERVICES, .pidfd = -1}};
	struct containers all = {.list = list, .count = 1};
	struct request request;
	char out[64];

	const struct json *root = json_parse(&document, text, size);
	if ((root == NULL) != (document.error != NULL) || (root != NULL && walk(root) == 0))
		abort();
	json_free(&document);
	status_apply(&all, text, size);
	container_annotate(&list[0], text, size);
	free(list[0].after);
	if (control_parse(text, &request) && request.verb >= VERBS)
		abort();
	life_heeds_term(text);
	modules_parameters("a/virtio_net.ko", text, out, sizeof(out));
}

int main(int argc, char *argv[])
{
	if (argc != 3 || freopen("/dev/null", "w", stderr) == NULL)
		return 2;
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	long count = strtol(argv[2], NULL, 10), done = 0;
	while (done < count) {
		char text[ROOM + 1];
		const char *seed = seeds[draw(sizeof(seeds) / sizeof(seeds[0]))];
		size_t size = strlen(seed);

		memcpy(text, seed, size);
		for (int changes = 20; changes > 0 && done < count; changes--, done++) {
			size = mutate(text, size);
			text[size] = '\0';
			/* In a block of its own, so that one byte too far is noticed. */
			char *exact = malloc(size + 1);
			memcpy(exact, text, size + 1);
			feed(exact, size);
			free(exact);
		}
	}
	printf("%ld texts\n", done);
	return 0;
}
