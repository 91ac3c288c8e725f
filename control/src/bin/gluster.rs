//! `gluster`: the command line of the management daemon. Everything is in `control::cli`.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    std::process::exit(control::cli::main(&args));
}
