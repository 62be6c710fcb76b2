# Written by the program itself, so that it is of the version that is installed.
tidegate completions fish | source
