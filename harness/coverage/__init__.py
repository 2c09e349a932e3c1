"""Which situations a run has reached: kind of memory × state of the page × what was done to it × by whom.

`situation` names the situations and says which of them cannot be; `recorder` finds those that a program
reaches, by following it on the model. A cell that stays empty over a nightly run is a hole in the strategies.
"""
