#include "backoff.h"

int64_t backoff_next(struct backoff *backoff, int64_t lived_ms)
{
	if (lived_ms >= BACKOFF_RESET_MS)
		*backoff = (struct backoff){0};
	if (backoff->failures++ == 0)
		backoff->delay_ms = 0;
	else if (backoff->delay_ms == 0)
		backoff->delay_ms = BACKOFF_FIRST_MS;
	else
		backoff->delay_ms = backoff->delay_ms * 2 < BACKOFF_MAX_MS ? backoff->delay_ms * 2 : BACKOFF_MAX_MS;
	return backoff->delay_ms;
}
