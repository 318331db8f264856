"""What a device-millisecond costs, and when: the price book and the exact cost of a segment."""
