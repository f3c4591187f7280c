"""The step loop: plan, launch, wait, commit, and the account it keeps of each step."""
