//! The small `!Send` executor of a core: tasks, timers, mailboxes, network and file operations. Its only wait is the driver.
