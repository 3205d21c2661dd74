package origin

// childEnv names the data directory of an origin that runs as a child process.
const childEnv = "FRESHET_TEST_ORIGIN"

func childMain(dir string) int { return 1 }
