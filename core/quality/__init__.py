"""Whether it is the data: labels, copies, what files tell and groups of errors, against cues."""
