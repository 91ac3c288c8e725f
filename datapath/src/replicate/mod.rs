//! AFR: transactions, quorum, read choice and heal over the bricks of one replica set.
