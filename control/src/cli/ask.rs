//! The question before a command that takes data away.

use std::io::{BufRead as _, Write as _};

/// Asks on standard output and reads one line. Anything but yes, and an end of input, is no; what cannot be
/// understood is told, as GlusterFS does.
pub(super) fn yes(question: &str) -> bool {
    print!("{question} (y/n) ");
    // A terminal that has gone away gives the end of input below.
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => println!("gluster cli read error"),
        Ok(_) => match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return true,
            "n" | "no" => return false,
            _ => {}
        },
    }
    println!("Invalid input, please enter y/n");
    false
}
