-- Version 2. Which of the simulator's markets a simulated file holds; NULL until a program has said.
-- TEXT, because a seed may be any whole number.
ALTER TABLE store_kind ADD COLUMN seed TEXT;
