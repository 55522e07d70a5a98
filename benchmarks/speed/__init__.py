"""How long a round takes, against the least that memory allows and against a plain loop over devices and layers."""
