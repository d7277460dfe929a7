/* fields FILE [bare]: reads every field of every record by auparse, without using them;
 * with `bare` it only goes through events and records. */
#include <auparse.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	auparse_state_t *state = argc >= 2 ? auparse_init(AUSOURCE_FILE, argv[1]) : NULL;
	int bare = argc == 3;
	long records = 0, fields = 0;

	if (!state) {
		perror("fields");
		return 1;
	}
	while (auparse_next_event(state) > 0) {
		if (auparse_first_record(state) <= 0)
			continue;
		do {
			records++;
			if (bare || !auparse_first_field(state))
				continue;
			do
				fields += auparse_get_field_str(state) != NULL;
			while (auparse_next_field(state) > 0);
		} while (auparse_next_record(state) > 0);
	}
	auparse_destroy(state);
	printf("%ld %ld\n", records, fields);
	return 0;
}
