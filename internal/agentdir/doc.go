// Package agentdir keeps the deployed agents equal to the files of one directory. It owns
// the watch and the faults of files; it refuses to judge a definition: the Deployer does.
//
// Run scans the directory, watches it, and after a short rest deploys each file that
// changed. A faulty file never replaces a good version: it becomes a FileFault, which is
// shown until the file is mended. A file that goes away takes its agent with it once the
// agent has nothing left to do. Files in subdirectories, files whose names begin with a
// dot, what editors leave behind, README files and Markdown without front matter are not
// agents. Reload and ReloadAll do the same at once, from a caller's goroutine.
package agentdir
