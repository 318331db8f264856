"""From pods, nodes and samples to quantities: holds, device states, activity, tokens, evidence."""
