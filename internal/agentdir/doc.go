// Package agentdir keeps the deployed agents equal to the files of one directory. It owns
// the watch and the faults of files; it refuses to judge a definition: the Deployer does.
//
// Run scans the directory, watches it, and after a short rest deploys each file that
// changed. A faulty file never replaces a good version: it becomes a FileFault, which is
// shown until the file is mended; a fault that may pass by itself is tried again by later
// scans. What was rolled back or changed through the API stays so, over restarts too, until
// its file changes. A file that goes away takes its agent with it, once it has been away for
// the rest and the agent has nothing left to do; an agent that is removed takes its file with
// it, which is set aside under another name. Files in subdirectories, files whose names begin
// with a dot, what editors leave behind, README files and Markdown without front matter are
// not agents. A module that a file names belongs to the file: the agent follows both, at once
// when the module lies in the directory itself, else at the next scan. Reload and ReloadAll do the same at once, from a caller's goroutine.
package agentdir
