"""What a label buys: the return against the number of labels, under each rule of DAgger."""
