"""Playing the past of a room: all its tracks in step, at the pace they were captured in.

    topics -> survey -> readers (one bounded queue each) -> merge by capture time -> pace -> sink

`run.Replayer` is the role; `merge`, `pace` and `when` are pure.
"""
