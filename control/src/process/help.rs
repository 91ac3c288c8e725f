//! The text of `glusterfsd --help`, and the same lines for its manual page. Only words: what the options do is in
//! [`super::args`].

/// Every option that counts, as it is written, and what it does.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "-s, --volfile-server=SERVER",
        "host of a management daemon; may be repeated, and may be a list with commas; they are asked in this order",
    ),
    ("--volfile-server-port=PORT", "port of the management daemon (24007)"),
    (
        "--volfile-server-transport=TRANSPORT",
        "tcp (the default), socket or unix; nothing else is supported",
    ),
    (
        "--volfile-id=KEY",
        "which volume file to ask for: VOLUME.HOST.PATH-WITH-DASHES",
    ),
    ("-f, --volfile=FILE", "read the volume file from here instead"),
    (
        "--volume-name=NAME",
        "the block of the volume file to serve, instead of the last",
    ),
    (
        "-p, --pid-file=FILE",
        "write the process id here and hold the file locked",
    ),
    (
        "-S, --socket-file=FILE",
        "Unix socket for the management daemon's requests",
    ),
    ("-l, --log-file=FILE", "log file; - or nothing for standard error"),
    (
        "-L, --log-level=LEVEL",
        "NONE, CRITICAL, ERROR, WARNING, INFO (the default), DEBUG or TRACE",
    ),
    ("-N, --no-daemon", "stay in the foreground"),
    ("--debug", "stay in the foreground and log everything to standard error"),
    ("--brick-name=PATH", "the brick's directory"),
    ("--brick-port=PORT", "the port clients connect to"),
    (
        "--xlator-option=NAME.KEY=VALUE",
        "set an option of a block of the volume file; may be repeated",
    ),
    (
        "--process-name=NAME",
        "what the process is called in lists: brick, glustershd",
    ),
    (
        "--client-pid=PID",
        "the pid that marks the internal requests of a heal daemon",
    ),
    ("-V, --version", "print the version"),
    ("--print-logdir", "print the directory of the logs"),
    ("--print-statedumpdir", "print the directory of state dumps"),
    (
        "--print-xlatordir",
        "print the directory of translators (there are none: they are built in)",
    ),
    (
        "--print-libexecdir",
        "print the directory of helper programs (there are none)",
    ),
    ("-?, --help", "this text"),
];

/// The text of `--help`.
pub fn text() -> String {
    let mut text = "Usage: glusterfsd --volfile-server=SERVER --volfile-id=KEY [OPTION...]\n   or: glusterfsd \
                    --volfile=FILE [OPTION...]\nServes one brick. glusterd starts this program; there is seldom a \
                    reason to do it by hand.\n\n"
        .to_owned();
    text.push_str(&aligned(OPTIONS));
    text
}

/// Options in one column, what they do in another.
pub fn aligned(lines: &[(&str, &str)]) -> String {
    const COLUMN: usize = 38;
    let mut text = String::new();
    for (option, help) in lines {
        text.push_str(&format!("  {option:COLUMN$} {help}\n"));
    }
    text
}
