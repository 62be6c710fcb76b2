# Written by the program itself, so that it is of the version that is installed.
eval "$(tidegate completions bash)"
