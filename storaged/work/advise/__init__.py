"""From what the catalog knows and a bounded look into the objects to policies that would pay, and what of it nobody can
know. Writes nothing, nowhere."""
